// A model in training as the rest of a program sees it: the interface that names no configuration.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "facellava/io/safetensors_writer.hpp"
#include "facellava/models/config.hpp"
#include "facellava/train/batch_rows.hpp"
#include "facellava/train/head_losses.hpp"
#include "facellava/train/optimizer.hpp"

namespace facellava::train {

// What a frozen tower says of a medium; kept, it is computed once.   [frames · features, tower dim]
using Features = std::shared_ptr<const std::vector<float>>;

struct Batch {
  BatchRows rows;
  struct Medium {
    text::Medium kind;
    Features features;          // none where its tower is trained
    std::vector<float> points;  // [frames, 136], or none
    std::vector<float> pixels;  // [frames, 3, side, side] where its tower is trained
  };
  std::vector<std::vector<Medium>> media;   // of each sample, in order
  std::vector<std::vector<float>> targets;  // of each sample, for the heads (train/labels.hpp)
};

// The parts of a loss.
struct Losses {
  double tokens = 0;            // the mean over the supervised rows
  std::vector<HeadLoss> heads;  // each the mean over its labels, not yet times its weight
};

class AnyModel {
 public:
  virtual ~AnyModel() = default;
  virtual const FaceLlavaConfig& config() const = 0;
  virtual Parameters& parameters() = 0;
  virtual std::vector<io::TensorInfo> tensors() const = 0;  // of a checkpoint: run::official_tensors
  virtual std::string instruction_set() const = 0;          // another one rounds otherwise

  virtual Features encode(const run::MediumInput&) = 0;
  // The loss of a batch, the sum of its parts: that of its rows, if it has any, and the heads' times their weights;
  // gradients += weight · its own.
  virtual double backward(const Batch&, double weight) = 0;
  virtual const Losses& losses() const = 0;  // of the last pass
  virtual void zero_gradients() = 0;
  virtual double gradient_norm() = 0;
  virtual void update(const OptimizerOptions&, double rate, double scale, int step) = 0;
  // w += sign · scale · B A   [out, in]
  virtual void add_product(Values w, const Adapter&, double sign) = 0;
};

}  // namespace facellava::train
