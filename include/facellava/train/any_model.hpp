// A model in training as the rest of a program sees it: the interface that names no configuration.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "facellava/io/safetensors_writer.hpp"
#include "facellava/models/config.hpp"
#include "facellava/train/batch_rows.hpp"
#include "facellava/train/optimizer.hpp"

namespace facellava::train {

// What a frozen tower says of a medium; kept, it is computed once.   [frames · features, tower dim]
using Features = std::shared_ptr<const std::vector<float>>;

struct Batch {
  BatchRows rows;
  struct Medium {
    text::Medium kind;
    Features features;
    std::vector<float> points;  // [frames, 136], or none
  };
  std::vector<std::vector<Medium>> media;  // of each sample, in order
};

class AnyModel {
 public:
  virtual ~AnyModel() = default;
  virtual const FaceLlavaConfig& config() const = 0;
  virtual Parameters& parameters() = 0;
  virtual std::vector<io::TensorInfo> tensors() const = 0;  // of a checkpoint: run::official_tensors

  virtual Features encode(const run::MediumInput&) = 0;
  // The mean loss of a batch's supervised rows; gradients += weight · its own.
  virtual double backward(const Batch&, double weight) = 0;
  virtual void zero_gradients() = 0;
  virtual double gradient_norm() = 0;
  virtual void update(const OptimizerOptions&, double rate, double scale, int step) = 0;
  // w += sign · scale · B A   [out, in]
  virtual void add_product(Values w, const Adapter&, double sign) = 0;
};

}  // namespace facellava::train
