// Schedules, parts with rates of their own, and values that are not finite.
#include "train/released_run.hpp"

using namespace facellava;
using namespace facellava::test;
using enum run::Part;

namespace {

std::unique_ptr<train::AnyModel> tiny(std::vector<run::Part> parts) {
  const run::ModelFolder folder({golden_path("model_tiny/ckpt_bin_fp16"), "", "", 4});
  return tiny_in_training(folder, {.trained = std::move(parts)});
}

std::vector<float> values_of(train::AnyModel& m, run::Part part) {
  std::vector<float> all;
  for (const auto& t : m.parameters().trained())
    if (t.part == part) all.insert(all.end(), t.w.data, t.w.data + t.w.count());
  return all;
}

}  // namespace

TEST_CASE("schedules rise, then stay or fall") {
  using train::Schedule;
  const train::Rate constant{Schedule::kConstant, 2, 0.25, 8}, linear{Schedule::kLinear, 2, 0.25, 8},
      cosine{Schedule::kCosine, 2, 0, 4};
  CHECK(constant.warmup() == 2);
  for (const train::Rate& r : {constant, linear}) {
    CHECK(r.at(0) == 0);
    CHECK(r.at(1) == 1);
    CHECK(r.at(2) == 2);
  }
  CHECK(constant.at(7) == 2);
  CHECK(linear.at(5) == 1);
  CHECK(linear.at(8) == 0);
  CHECK(cosine.at(0) == 2);
  CHECK(cosine.at(2) == doctest::Approx(1).epsilon(1e-12));
  CHECK(cosine.at(4) < 1e-12);
  CHECK_THROWS_AS(train::check_rate({Schedule::kCosine, std::nan(""), 0, 4}), Error);
  CHECK_THROWS_AS(train::check_rate({Schedule::kCosine, 1, 2, 4}), Error);
  CHECK_THROWS_AS(train::check_rate({Schedule::kCosine, 1, 0, 0}), Error);
}

TEST_CASE("a part has a rate of its own; gradients accumulate over the batches of a step") {
  const train::DataSet data = released_data();
  train::StepOptions o;
  o.rate = {train::Schedule::kConstant, 1e-3, 0, 1};
  o.optimizer.rates[std::size_t(kLandmarks)] = 0;
  const auto model = tiny({kLandmarks, kProjector});
  train::Batcher batcher(data, *model, std::size_t(1) << 30);
  const std::size_t both[] = {5, 6}, first[] = {5}, second[] = {6};
  const auto before = values_of(*model, kLandmarks), projector = values_of(*model, kProjector);
  train::step(*model, std::vector{batcher.make(both)}, o, 0);
  CHECK(values_of(*model, kLandmarks) == before);
  CHECK(values_of(*model, kProjector) != projector);

  // Of two batches the step takes the mean of their means.
  const auto norm_of = [&](std::vector<train::Batch> batches) { return train::accumulate(*model, batches, 0); };
  const auto a = norm_of({batcher.make(first)}), b = norm_of({batcher.make(second)}),
             twice = norm_of({batcher.make(first), batcher.make(first)}),
             mean = norm_of({batcher.make(first), batcher.make(second)});
  CHECK(twice.grad_norm == doctest::Approx(a.grad_norm).epsilon(1e-5));
  CHECK(mean.loss == doctest::Approx((a.loss + b.loss) / 2).epsilon(1e-12));
  CHECK(mean.rows == a.rows + b.rows);
}

TEST_CASE("SGD without momentum moves against the gradient") {
  const train::DataSet data = released_data();
  const auto model = tiny({kProjector});
  train::Batcher batcher(data, *model, std::size_t(1) << 30);
  const std::size_t samples[] = {5, 6};
  const std::vector<train::Batch> batch{batcher.make(samples)};
  train::StepOptions o;
  o.rate = {train::Schedule::kConstant, 0.5, 0, 1};
  o.optimizer.kind = train::Optimizer::kSgd;
  o.max_grad_norm = 0;
  auto& t = model->parameters().trained()[0];
  const float before = t.w(1, 2);
  train::step(*model, batch, o, 0);
  CHECK(double(t.w(1, 2)) == doctest::Approx(double(before) - 0.5 * double(t.dw(1, 2))).epsilon(1e-6));
}

TEST_CASE("in coordinates of their own the landmark projectors step as if their points came in those") {
  const train::DataSet data = released_data();
  const auto model = tiny({kLandmarks});
  train::Batcher batcher(data, *model, std::size_t(1) << 30);
  const std::size_t samples[] = {5, 6};
  const std::vector<train::Batch> batch{batcher.make(samples)};
  train::StepOptions o;
  o.rate = {train::Schedule::kConstant, 0.5, 0, 1};
  o.optimizer.kind = train::Optimizer::kSgd;
  o.max_grad_norm = 0;
  o.optimizer.landmarks = train::LandmarkCoordinates{12, {}};
  for (std::size_t i = 0; i < 136; ++i) o.optimizer.landmarks->mean[i] = 0.2 + 0.004 * double(i);
  const auto layer = [&](const std::string& name) {
    const auto& all = model->parameters().trained();
    const auto at = std::find_if(all.begin(), all.end(), [&](const auto& t) { return t.name == name; });
    REQUIRE(at != all.end());
    const Index n = at->w.count();
    return std::pair(std::vector<float>(at->w.data, at->w.data + n), std::vector<float>(at->dw.data, at->dw.data + n));
  };
  // y = W p + b with p = mean + z / 12: the slope of z is that of p over 12, plus what b owes to the mean.
  const auto check = [&](const std::string& name, std::size_t first, std::size_t columns) {
    train::accumulate(*model, batch, 0);
    const auto [w, dw] = layer(name + ".weight");
    const auto [b, db] = layer(name + ".bias");
    train::step(*model, batch, o, 0);
    const auto [w_after, dz] = layer(name + ".weight");
    const auto [b_after, same] = layer(name + ".bias");
    CHECK(same == db);
    for (std::size_t r = 0; r < b.size(); ++r) {
      double bias = double(b[r]) - 0.5 * double(db[r]);
      for (std::size_t c = 0; c < columns; ++c) {
        const std::size_t i = r * columns + c;
        const double mean = o.optimizer.landmarks->mean[first + c], slope = 12 * (double(dw[i]) - double(db[r]) * mean);
        CHECK(double(dz[i]) == doctest::Approx(slope).epsilon(1e-5));
        const double moved = 12 * -0.5 * slope;
        CHECK(double(w_after[i]) == doctest::Approx(double(w[i]) + moved).epsilon(1e-5));
        bias -= moved * mean;
      }
      CHECK(double(b_after[r]) == doctest::Approx(bias).epsilon(1e-4));  // of sums that cancel
    }
  };
  check("global_landmarks_projector", 0, 136);
  check("landmarks_projector.region_layers.nose", 54, 8);
}

TEST_CASE("a value that is not finite is reported with the first layer that has one, and nothing is changed") {
  const train::DataSet data = released_data();
  const auto model = tiny({kLandmarks, kDecoder});
  train::Batcher batcher(data, *model, std::size_t(1) << 30);
  const std::size_t samples[] = {5};
  const std::vector<train::Batch> batch{batcher.make(samples)};
  train::StepOptions o;
  o.rate = {train::Schedule::kConstant, 1e-3, 0, 1};
  for (auto& t : model->parameters().trained())
    if (t.name == "llama.layers.1.mlp.down_proj.weight") t.w(3, 4) = std::nanf("");
  const auto before = values_of(*model, kLandmarks);
  CHECK_THROWS_WITH_AS(train::step(*model, batch, o, 0),
                       doctest::Contains("decoder, after 2 layers, row 0; the weight llama.layers.1.mlp.down_proj"),
                       Error);
  CHECK(values_of(*model, kLandmarks) == before);
}
