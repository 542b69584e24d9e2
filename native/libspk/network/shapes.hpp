// The shape that one node gives.
#pragma once

#include <vector>

#include "network/network.hpp"

namespace spk {

bool operator==(const Shape& first, const Shape& second);
bool same_size(const Shape& first, const Shape& second);
std::string show(const Shape& shape);

// `inputs`: shapes of what the node reads; of an Input node the image's. Throws Error.
Shape infer_shape(const Node& node, const std::vector<Shape>& inputs);

}  // namespace spk
