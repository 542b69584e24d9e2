// Every node by itself. `result` comes with its shape and zeros.
#pragma once

#include <cstdint>
#include <vector>

#include "network/network.hpp"
#include "reference/values.hpp"

namespace spk::reference {

// `frame`: normalised floats [batch][channels][height][width].
void quantise(const Input& node, const float* frame, Value& result);
void embed(const Embedding& node, Value& result);
void place(const Position& node, Value& result);

// `weight`: that of the node, unpacked.
void weigh(const Synapse& node, const std::vector<int8_t>& weight, const Value& source,
           Value& result);

// `pixels`: that the current is a sum over; `membrane`: of every unit, empty at rest and over one
// time step.
void fire(const Neuron& node, const Value& current, int64_t pixels, std::vector<int64_t>& membrane,
          Value& result);

void add(const Value& first, const Value& second, Value& result);
void pool(const Value& source, Value& result);
void take_maxima(const MaxPool& node, const Value& source, Value& result);

void gate(const Value& gated, const Value& by, Value& result);
void sum_spikes(const SpikeSum& node, const Value& source, Value& result);
void sum_currents(const CurrentProduct& node, const Value& current, const Value& spikes,
                  Value& result);
void attend(const Attention& node, const Value& query, const Value& key, const Value& value,
            Value& result);
void multiply_masks(const MaskProduct& node, const Value& embedding, const Value& features,
                    Value& result);

void resize(const Value& source, Value& result);
void sample(const Sample& node, const Value& value, const Value& offset, const Value& weight,
            Value& result);

}  // namespace spk::reference
