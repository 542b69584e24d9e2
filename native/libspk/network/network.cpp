#include "network/network.hpp"

#include "file/bit_stream.hpp"

namespace spk {

std::vector<int8_t> Synapse::weight() const {
    std::vector<int8_t> values(size_t(outputs) * size_t(weights_per_output()));
    unpack(packed.get(), packed_size, bits, 0, values.size(), values.data());
    return values;
}

}  // namespace spk
