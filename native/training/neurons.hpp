// The neuron over time, forward and backward, in one pass over memory.
//
// Equations and their order of operations are those of neurons/dynamics.py, recurrence.py and
// surrogate.py: the forward pass equals them bit for bit. Columns are taken in tiles whose
// membranes and potentials stay in the first cache; within a tile time is the outer loop, so that
// memory is read in long runs and what a neuron is like is asked once a row.
//
// All functions here take 64 columns or a multiple of that; kernels.cpp pads the last ones.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "neuron_rule.hpp"
#include "vector.hpp"

namespace SPIKESIGHT_ISA {

// Runs of a tile are short, so the loops below ask for the next tile's while they are in one.
template <class C>
int64_t tile_columns(int64_t steps) {
    const int64_t bytes = std::max<int64_t>(1024, 8192 / steps);
    return bytes / int64_t(sizeof(C)) / 64 * 64;
}

enum Form { kBinaryHard, kBinarySoft, kRounded, kRoundedUp };

template <class C>
struct Constants {
    Form form;
    bool leaks_input, divides, detached;
    C threshold, inverse, offset, unit, retain, admit, top, edge, level;
    explicit Constants(const NeuronRule& rule)
        : form(rule.levels > 1      ? (rule.ties_even ? kRounded : kRoundedUp)
               : rule.hard_reset ? kBinaryHard
                                 : kBinarySoft),
          leaks_input(rule.decay_input),
          detached(rule.detach_reset),
          threshold(C(rule.threshold)),
          inverse(C(1 / rule.threshold)),
          offset(C(rule.offset)),
          unit(C(rule.unit)),
          retain(C(rule.retain)),
          admit(C(1.0 - rule.retain)),
          top(C(rule.levels)),
          edge(C(rule.levels * rule.threshold)) {
        int exponent;
        divides = std::frexp(rule.threshold, &exponent) != 0.5;
        // The least potential at which a binary neuron fires: no division is left for the loop.
        const auto fires = [&](C u) {
            return rule.ties_even ? u / threshold > offset : u / threshold >= offset;
        };
        const C endless = std::numeric_limits<C>::infinity();
        level = offset * threshold;
        while (fires(level)) level = std::nextafter(level, -endless);
        while (!fires(level)) level = std::nextafter(level, endless);
    }
};

template <class C, Form form, bool divides>
SPIKESIGHT_INLINE Vector<C> count(Vector<C> potential, const Constants<C>& k) {
    const Vector<C> zero = {}, one = zero + C(1);
    if constexpr (form == kBinaryHard || form == kBinarySoft)
        return keep<C>(potential >= zero + k.level, one);
    const Vector<C> scaled = divides ? potential / k.threshold : potential * k.inverse;
    if constexpr (form == kRounded)
        return round_even<C>(clamp<C>(scaled, zero, zero + k.top));
    else
        return clamp<C>(floor_small<C>(clamp<C>(scaled - k.offset, -one, zero + k.top)) + one, zero,
                        zero + k.top);
}

template <class C, Form form>
SPIKESIGHT_INLINE Vector<C> reset(Vector<C> potential, Vector<C> counts, const Constants<C>& k) {
    if constexpr (form == kBinaryHard)
        return potential * (C(1) - counts);
    else
        return potential - counts * k.threshold;
}

template <class C, bool leaks_input>
SPIKESIGHT_INLINE Vector<C> charge(Vector<C> x, Vector<C> membrane, const Constants<C>& k) {
    if constexpr (leaks_input)
        return membrane + (x - membrane) * k.admit;
    else
        return k.retain * membrane + x;
}

template <class Body>
SPIKESIGHT_INLINE void with_flag(bool flag, const Body& body) {
    if (flag)
        body(std::true_type{});
    else
        body(std::false_type{});
}

// Calls `body(form, divides)` with how the neuron counts as types.
template <class C, class Body>
SPIKESIGHT_INLINE void with_form(const Constants<C>& k, const Body& body) {
    switch (k.form) {
        case kBinaryHard:
            return body(std::integral_constant<Form, kBinaryHard>{}, std::false_type{});
        case kBinarySoft:
            return body(std::integral_constant<Form, kBinarySoft>{}, std::false_type{});
        case kRounded:
            return with_flag(k.divides, [&](auto divides) {
                body(std::integral_constant<Form, kRounded>{}, divides);
            });
        case kRoundedUp:
            return with_flag(k.divides, [&](auto divides) {
                body(std::integral_constant<Form, kRoundedUp>{}, divides);
            });
    }
}

template <class C, int kind>
struct Slope {
    C threshold, factor, edge, peak;
    explicit Slope(const NeuronRule& rule) : threshold(C(rule.threshold)) {
        const double shape = rule.surrogate_shape;
        factor = C(kind == kSigmoid ? -shape * 1.4426950408889634 : 1.5707963267948966 * shape);
        edge = C(kind == kRectangular ? shape / 2 : rule.levels * rule.threshold);
        peak = C(kind == kSigmoid       ? shape
                 : kind == kRectangular ? 1 / shape
                 : kind == kArctan      ? shape / 2
                                        : 1 / rule.threshold);
    }
    SPIKESIGHT_INLINE Vector<C> operator()(Vector<C> potential) const {
        const Vector<C> zero = {};
        if constexpr (kind == kStraightThroughClosed)
            return keep<C>((potential >= zero) & (potential <= zero + edge), zero + peak);
        else if constexpr (kind == kStraightThroughOpen)
            return keep<C>((potential > zero) & (potential < zero + edge), zero + peak);
        else {
            const Vector<C> x = potential - threshold;
            const Vector<C> distance = magnitude<C>(x);
            if constexpr (kind == kArctan) {
                const Vector<C> scaled = x * factor;
                return peak / (C(1) + scaled * scaled);
            } else if constexpr (kind == kRectangular) {
                return keep<C>(distance < zero + edge, zero + peak);
            } else {
                const Vector<C> e = exp2_below_zero<C>(distance * factor);
                const Vector<C> sum = C(1) + e;
                return e * peak / (sum * sum);
            }
        }
    }
};

// Where the gradient passes straight through: of an integer neuron from rest, at one time step,
// the backward pass needs nothing else. One bit a column, from `mask[0]` on.
template <class S, Form form, bool divides, bool closed>
void forward_with_mask(const typename S::Element* x, typename S::Element* s, uint8_t* mask,
                       int64_t n, bool streaming, const Constants<typename S::Compute>& k) {
    using C = typename S::Compute;
    constexpr int group = kLanes<C> > 8 ? kLanes<C> : 8;
    const Vector<C> zero = {}, edge = zero + k.edge;
    for (int64_t i = 0; i < n; i += group) {
        uint32_t bits = 0;
        for (int j = 0; j < group; j += kLanes<C>) {
            const Vector<C> u = S::read(x + i + j);
            const Integers<C> inside =
                closed ? (u >= zero) & (u <= edge) : (u > zero) & (u < edge);
            bits |= bits_of<C>(inside) << j;
            S::write(s + i + j, count<C, form, divides>(u, k) * k.unit, streaming);
        }
        std::memcpy(mask + i / 8, &bits, group / 8);
    }
}

template <class S>
void backward_with_mask(const BackwardCall& call, int64_t begin, int64_t end, bool streaming) {
    using C = typename S::Compute;
    using Element = typename S::Element;
    constexpr int group = kLanes<C> > 8 ? kLanes<C> : 8;
    const auto* gs = static_cast<const Element*>(call.grad_spikes);
    auto* gx = static_cast<Element*>(call.grad_current);
    const C unit = C(call.rule->unit), peak = C(1 / call.rule->threshold);
    for (int64_t i = begin; i < end; i += group) {
        uint32_t bits = 0;
        std::memcpy(&bits, call.mask + i / 8, group / 8);
        for (int j = 0; j < group; j += kLanes<C>) {
            const Vector<C> slope = keep<C>(mask_of<C>(bits >> j), Vector<C>{} + peak);
            S::write(gx + i + j, S::read(gs + i + j) * unit * slope, streaming);
        }
    }
}

template <class S>
void forward_columns(const ForwardCall& call, int64_t begin, int64_t end, bool streaming) {
    using C = typename S::Compute;
    using Element = typename S::Element;
    const Constants<C> k(*call.rule);
    const int steps = call.rule->steps;
    const auto* first = static_cast<const C*>(call.membrane);
    auto* last = static_cast<C*>(call.last_membrane);
    // One time step from rest needs no membrane: the potential is the current.
    const bool alone = steps == 1 && !first && !last && !k.leaks_input;
    const int64_t tile = alone ? end - begin : tile_columns<C>(steps);
    std::vector<C> membranes(alone ? 0 : size_t(tile));
    C* const v = membranes.data();

    for (int64_t m = begin; m < end; m += tile) {
        const int64_t n = std::min(tile, end - m);
        if (first)
            std::copy(first + m, first + m + n, v);
        else if (!alone)
            std::fill(v, v + n, C(0));
        for (int t = 0; t < steps; ++t) {
            const auto* x = static_cast<const Element*>(call.current) + t * call.columns + m;
            auto* s = static_cast<Element*>(call.spikes) + t * call.columns + m;
            with_form<C>(k, [&](auto form, auto divides) {
                if (call.mask) {
                    with_flag(call.rule->surrogate == kStraightThroughClosed, [&](auto closed) {
                        forward_with_mask<S, form(), divides(), closed()>(
                            x, s, call.mask + m / 8, n, streaming, k);
                    });
                    return;
                }
                if (alone) {
                    for (int64_t i = 0; i < n; i += kLanes<C>)
                        S::write(s + i, count<C, form(), divides()>(S::read(x + i), k) * k.unit,
                                 streaming);
                    return;
                }
                with_flag(k.leaks_input, [&](auto leaks) {
                    for (int64_t i = 0; i < n; i += kLanes<C>) {
                        __builtin_prefetch(x + i + tile);
                        const auto u = charge<C, leaks()>(S::read(x + i), load<C>(v + i), k);
                        const auto counts = count<C, form(), divides()>(u, k);
                        store<C>(v + i, reset<C, form()>(u, counts, k));
                        S::write(s + i, counts * k.unit, streaming);
                    }
                });
            });
        }
        if (last) std::copy(v, v + n, last + m);
    }
}

// Fills `potentials` [steps, pitch] for columns [m, m + n); `v` has their first membranes and is
// used up.
template <class S>
void recompute(const BackwardCall& call, const Constants<typename S::Compute>& k, int64_t m,
               int64_t n, typename S::Compute* v, typename S::Compute* potentials, int64_t pitch) {
    using C = typename S::Compute;
    for (int t = 0; t < call.rule->steps; ++t) {
        const auto* x =
            static_cast<const typename S::Element*>(call.current) + t * call.columns + m;
        C* const u = potentials + t * pitch;
        with_form<C>(k, [&](auto form, auto divides) {
            with_flag(k.leaks_input, [&](auto leaks) {
                for (int64_t i = 0; i < n; i += kLanes<C>) {
                    __builtin_prefetch(x + i + pitch);
                    const auto potential = charge<C, leaks()>(S::read(x + i), load<C>(v + i), k);
                    store<C>(u + i, potential);
                    const auto counts = count<C, form(), divides()>(potential, k);
                    store<C>(v + i, reset<C, form()>(potential, counts, k));
                }
            });
        });
    }
}

// The gradient of the share of the membrane that time step `t` kept, summed over a row.
template <class S>
double sum_for_retain(const BackwardCall& call, const Constants<typename S::Compute>& k, int t,
                      int64_t m, int64_t n, const typename S::Compute* grad,
                      const typename S::Compute* u, int64_t pitch) {
    using C = typename S::Compute;
    const auto* x = static_cast<const typename S::Element*>(call.current) + t * call.columns + m;
    const auto* first = static_cast<const C*>(call.membrane);
    double sum = 0.0;
    with_form<C>(k, [&](auto form, auto divides) {
        for (int64_t i = 0; i < n; i += kLanes<C>) {
            Vector<C> leak = {};
            if (t > 0) {
                const auto before = load<C>(u + i - pitch);
                leak = reset<C, form()>(before, count<C, form(), divides()>(before, k), k);
            } else if (first) {
                leak = load<C>(first + m + i);
            }
            if (k.leaks_input) leak = leak - S::read(x + i);
            const Vector<C> part = load<C>(grad + i) * leak;
            for (int lane = 0; lane < kLanes<C>; ++lane) sum += double(part[lane]);
        }
    });
    return sum;
}

template <class S, int kind>
void backward_columns(const BackwardCall& call, int64_t begin, int64_t end, bool streaming,
                      double* grad_retain) {
    using C = typename S::Compute;
    using Element = typename S::Element;
    const Constants<C> k(*call.rule);
    const Slope<C, kind> slope(*call.rule);
    const int steps = call.rule->steps;
    const auto* first = static_cast<const C*>(call.membrane);
    const auto* grad_last = static_cast<const C*>(call.grad_last_membrane);
    auto* grad_first = static_cast<C*>(call.grad_membrane);
    const C admit = k.leaks_input ? k.admit : C(1);
    const bool alone = steps == 1 && !first && !grad_last && !k.leaks_input && !grad_retain;
    if (alone) {
        const auto* x = static_cast<const Element*>(call.current);
        const auto* gs = static_cast<const Element*>(call.grad_spikes);
        auto* gx = static_cast<Element*>(call.grad_current);
        for (int64_t i = begin; i < end; i += kLanes<C>)
            S::write(gx + i, S::read(gs + i) * k.unit * slope(S::read(x + i)), streaming);
        return;
    }
    const int64_t tile = tile_columns<C>(steps);
    std::vector<C> buffer(size_t(tile) * size_t(steps + 1));
    C* const g = buffer.data();  // the membranes first, then their gradient
    C* const potentials = g + tile;
    double sum = 0.0;

    for (int64_t m = begin; m < end; m += tile) {
        const int64_t n = std::min(tile, end - m);
        if (first)
            std::copy(first + m, first + m + n, g);
        else
            std::fill(g, g + n, C(0));
        recompute<S>(call, k, m, n, g, potentials, tile);
        if (grad_last) std::copy(grad_last + m, grad_last + m + n, g);
        for (int t = steps - 1; t >= 0; --t) {
            const auto* gs = static_cast<const Element*>(call.grad_spikes) + t * call.columns + m;
            auto* gx = static_cast<Element*>(call.grad_current) + t * call.columns + m;
            const C* const u = potentials + t * tile;
            const C retain = grad_retain ? C(1) : k.retain;
            if (t == steps - 1 && !grad_last) {
                for (int64_t i = 0; i < n; i += kLanes<C>) {
                    __builtin_prefetch(gs + i + tile);
                    const Vector<C> grad = S::read(gs + i) * k.unit * slope(load<C>(u + i));
                    store<C>(g + i, grad * retain);
                    S::write(gx + i, grad * admit, streaming);
                }
            } else {
                with_flag(k.form == kBinaryHard, [&](auto hard) {
                    with_flag(k.detached, [&](auto detached) {
                        for (int64_t i = 0; i < n; i += kLanes<C>) {
                            __builtin_prefetch(gs + i + tile);
                            const Vector<C> potential = load<C>(u + i);
                            Vector<C> kept = load<C>(g + i);
                            Vector<C> grad = S::read(gs + i) * k.unit;
                            if constexpr (!detached()) {
                                if constexpr (hard())
                                    grad = grad - kept * potential;
                                else
                                    grad = grad - kept * k.threshold;
                            }
                            grad = grad * slope(potential);
                            if constexpr (hard())
                                kept = kept * (C(1) - count<C, kBinaryHard, false>(potential, k));
                            grad = grad + kept;
                            store<C>(g + i, grad * retain);
                            S::write(gx + i, grad * admit, streaming);
                        }
                    });
                });
            }
            if (grad_retain) {
                if (t > 0 || first || k.leaks_input)
                    sum += sum_for_retain<S>(call, k, t, m, n, g, u, tile);
                for (int64_t i = 0; i < n; i += kLanes<C>) store<C>(g + i, load<C>(g + i) * k.retain);
            }
        }
        if (grad_first) std::copy(g, g + n, grad_first + m);
    }
    if (grad_retain) *grad_retain = sum;
}

}  // namespace SPIKESIGHT_ISA
