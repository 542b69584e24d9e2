// Compiled once per instruction set; CMakeLists.txt sets SPIKESIGHT_ISA and SPIKESIGHT_WIDTH.

#include "kernels.hpp"

#include "max_pool.hpp"
#include "neurons.hpp"
#include "norm_neurons.hpp"

#define SPIKESIGHT_TEXT(name) SPIKESIGHT_TEXT_OF(name)
#define SPIKESIGHT_TEXT_OF(name) #name
#define SPIKESIGHT_JOIN(a, b) SPIKESIGHT_JOIN_OF(a, b)
#define SPIKESIGHT_JOIN_OF(a, b) a##b

namespace SPIKESIGHT_ISA {

constexpr int kPadded = 64;

// A few columns of a tensor over time, beside zeros that fill whole vectors.
template <class E, int lanes>
struct Padded {
    std::vector<E> values;
    const void* from;
    Padded(const void* tensor, int64_t steps, int64_t columns, int64_t begin, int64_t end)
        : values(tensor ? size_t(steps * lanes) : 0), from(tensor) {
        if (!tensor) return;
        const auto* source = static_cast<const E*>(tensor) + begin;
        for (int64_t t = 0; t < steps; ++t)
            std::copy(source + t * columns, source + t * columns + (end - begin),
                      values.data() + t * lanes);
    }
    E* data() { return from ? values.data() : nullptr; }
    void give_back(void* tensor, int64_t steps, int64_t columns, int64_t begin, int64_t end) {
        if (!tensor) return;
        auto* target = static_cast<E*>(tensor) + begin;
        for (int64_t t = 0; t < steps; ++t)
            std::copy(values.data() + t * lanes, values.data() + t * lanes + (end - begin),
                      target + t * columns);
    }
};

template <class S>
void forward_stored(const ForwardCall& call, int64_t begin, int64_t end, bool streaming) {
    using C = typename S::Compute;
    constexpr int lanes = kPadded;
    const int64_t whole = begin + (end - begin) / lanes * lanes;
    if (whole > begin) forward_columns<S>(call, begin, whole, streaming);
    if (whole == end) return;
    const int64_t steps = call.rule->steps, columns = call.columns;
    Padded<typename S::Element, lanes> current(call.current, steps, columns, whole, end),
        spikes(call.spikes, steps, columns, whole, end);
    Padded<C, lanes> membrane(call.membrane, 1, 0, whole, end), last(call.last_membrane, 1, 0, whole, end);
    uint8_t* const mask = call.mask ? call.mask + whole / 8 : nullptr;
    forward_columns<S>({call.rule, current.data(), membrane.data(), spikes.data(), last.data(),
                        mask, lanes, call.storage},
                       0, lanes, false);
    spikes.give_back(call.spikes, steps, columns, whole, end);
    last.give_back(call.last_membrane, 1, 0, whole, end);
}

template <class S, int kind>
void backward_sloped(const BackwardCall& call, int64_t begin, int64_t end, bool streaming,
                     double* grad_retain) {
    using C = typename S::Compute;
    constexpr int lanes = kPadded;
    const int64_t whole = begin + (end - begin) / lanes * lanes;
    if (whole > begin) backward_columns<S, kind>(call, begin, whole, streaming, grad_retain);
    if (whole == end) return;
    const int64_t steps = call.rule->steps, columns = call.columns;
    // The columns of zeros have no gradient, so they add nothing to that of `retain`.
    Padded<typename S::Element, lanes> grad_spikes(call.grad_spikes, steps, columns, whole, end),
        current(call.current, steps, columns, whole, end),
        grad_current(call.grad_current, steps, columns, whole, end);
    Padded<C, lanes> grad_last(call.grad_last_membrane, 1, 0, whole, end),
        membrane(call.membrane, 1, 0, whole, end), grad_membrane(call.grad_membrane, 1, 0, whole, end);
    double rest = 0.0;
    backward_columns<S, kind>(
        {call.rule, grad_spikes.data(), grad_last.data(), current.data(), membrane.data(),
         grad_current.data(), grad_membrane.data(), nullptr, lanes, call.storage},
        0, lanes, false, grad_retain ? &rest : nullptr);
    if (grad_retain) *grad_retain = (whole > begin ? *grad_retain : 0.0) + rest;
    grad_current.give_back(call.grad_current, steps, columns, whole, end);
    grad_membrane.give_back(call.grad_membrane, 1, 0, whole, end);
}

template <class S>
void backward_masked(const BackwardCall& call, int64_t begin, int64_t end, bool streaming) {
    const int64_t whole = begin + (end - begin) / kPadded * kPadded;
    if (whole > begin) backward_with_mask<S>(call, begin, whole, streaming);
    if (whole == end) return;
    Padded<typename S::Element, kPadded> grad_spikes(call.grad_spikes, 1, 0, whole, end),
        grad_current(call.grad_current, 1, 0, whole, end);
    backward_with_mask<S>({call.rule, grad_spikes.data(), nullptr, nullptr, nullptr,
                           grad_current.data(), nullptr, call.mask + whole / 8, kPadded,
                           call.storage},
                          0, kPadded, false);
    grad_current.give_back(call.grad_current, 1, 0, whole, end);
}

// Calls `body` with the storage type that a call names.
template <class Body>
void with_storage(int32_t storage, const Body& body) {
    switch (storage) {
        case kFloat32: return body(Plain<float>{});
        case kFloat64: return body(Plain<double>{});
        case kBFloat16: return body(BFloat16{});
        case kFloat16: return body(Float16{});
    }
}

static void forward(const ForwardCall& call, int64_t begin, int64_t end, bool streaming) {
    with_storage(call.storage, [&](auto storage) {
        forward_stored<decltype(storage)>(call, begin, end, streaming);
    });
}

// Calls `body(storage, kind)` with a call's storage type and surrogate as types.
template <class Body>
void with_surrogate(int32_t storage, int32_t surrogate, const Body& body) {
    with_storage(storage, [&](auto stored) {
        switch (surrogate) {
            case kSigmoid: return body(stored, std::integral_constant<int, kSigmoid>{});
            case kRectangular: return body(stored, std::integral_constant<int, kRectangular>{});
            case kArctan: return body(stored, std::integral_constant<int, kArctan>{});
            case kStraightThroughClosed:
                return body(stored, std::integral_constant<int, kStraightThroughClosed>{});
            case kStraightThroughOpen:
                return body(stored, std::integral_constant<int, kStraightThroughOpen>{});
        }
    });
}

static void backward(const BackwardCall& call, int64_t begin, int64_t end, bool streaming,
                     double* grad_retain) {
    if (call.mask)
        return with_storage(call.storage, [&](auto stored) {
            backward_masked<decltype(stored)>(call, begin, end, streaming);
        });
    with_surrogate(call.storage, call.rule->surrogate, [&](auto stored, auto kind) {
        backward_sloped<decltype(stored), kind()>(call, begin, end, streaming, grad_retain);
    });
}

static void norm_sums(const NormCall& call, int64_t begin, int64_t end, double* mean,
                      double* squares) {
    with_storage(call.storage, [&](auto stored) {
        sum_rows<decltype(stored)>(call, begin, end, mean, squares);
    });
}

static void norm_fire(const NormCall& call, int64_t begin, int64_t end, bool streaming) {
    with_storage(call.storage, [&](auto stored) {
        norm_forward<decltype(stored)>(call, begin, end, streaming);
    });
}

static void norm_gradients(const NormCall& call, int64_t begin, int64_t end, double* sums,
                           double* products) {
    with_surrogate(call.storage, call.rule->surrogate, [&](auto stored, auto kind) {
        norm_backward<decltype(stored), kind()>(call, begin, end, sums, products);
    });
}

static void norm_last(const NormCall& call, int64_t begin, int64_t end, bool streaming) {
    with_storage(call.storage, [&](auto stored) {
        norm_finish<decltype(stored)>(call, begin, end, streaming);
    });
}

static void pool(const PoolCall& call, int64_t begin, int64_t end) {
    with_storage(call.norm.storage,
                 [&](auto stored) { pool_forward<decltype(stored)>(call, begin, end); });
}

static void pool_gradients(const PoolCall& call, int64_t begin, int64_t end, double* sums,
                           double* products) {
    with_storage(call.norm.storage, [&](auto stored) {
        pool_backward<decltype(stored)>(call, begin, end, sums, products);
    });
}

}  // namespace SPIKESIGHT_ISA

const Kernels SPIKESIGHT_JOIN(SPIKESIGHT_ISA, _kernels) = {
    SPIKESIGHT_TEXT(SPIKESIGHT_ISA),
    SPIKESIGHT_ISA::forward,
    SPIKESIGHT_ISA::backward,
    SPIKESIGHT_ISA::norm_sums,
    SPIKESIGHT_ISA::norm_fire,
    SPIKESIGHT_ISA::norm_gradients,
    SPIKESIGHT_ISA::norm_last,
    SPIKESIGHT_ISA::pool,
    SPIKESIGHT_ISA::pool_gradients,
};
