// Batch normalisation and the neuron behind it in one pass: the normalised current is never stored.
//
// The input is [steps * rows, channels], channels last. Forward reads it for the statistics and
// once more to fire; backward computes potentials a second time from it. Channels are a multiple
// of kChannels, so that rows are whole vectors.

#pragma once

#include "neurons.hpp"

namespace SPIKESIGHT_ISA {

// Sums over rows [begin, end) of x and of its squared distance from the mean, one per channel.
// Rows are taken in blocks around a row of theirs, so that no large squares are subtracted.
template <class S>
void sum_rows(const NormCall& call, int64_t begin, int64_t end, double* mean, double* squares) {
    using C = typename S::Compute;
    const int64_t channels = call.channels;
    const auto* x = static_cast<const typename S::Element*>(call.input);
    constexpr int64_t block = 64;
    std::fill(mean, mean + channels, 0.0);
    std::fill(squares, squares + channels, 0.0);
    for (int64_t r = begin; r < end; r += block) {
        const int64_t n = std::min(block, end - r), seen = r - begin;
        for (int64_t c = 0; c < channels; c += kLanes<C>) {
            const auto* from = x + r * channels + c;
            const Vector<C> pivot = S::read(from);
            Vector<C> sum = {}, square = {};
            for (int64_t i = 1; i < n; ++i) {
                const Vector<C> distance = S::read(from + i * channels) - pivot;
                sum += distance;
                square = multiply_add<C>(distance, distance, square);
            }
            for (int lane = 0; lane < kLanes<C>; ++lane) {
                const double part = double(sum[lane]) / double(n);
                const double apart = double(pivot[lane]) + part - mean[c + lane];
                squares[c + lane] += double(square[lane]) - part * double(sum[lane]) +
                                     apart * apart * double(n) * double(seen) / double(seen + n);
                mean[c + lane] += apart * double(n) / double(seen + n);
            }
        }
    }
}

template <class C>
int64_t tile_rows(int64_t steps, int64_t channels) {
    return std::max<int64_t>(1, tile_columns<C>(steps) / channels);
}

template <class S>
void norm_forward(const NormCall& call, int64_t begin, int64_t end, bool streaming) {
    using C = typename S::Compute;
    using Element = typename S::Element;
    const Constants<C> k(*call.rule);
    const int64_t channels = call.channels, pitch = call.rows * channels;
    const int steps = call.rule->steps;
    const auto* gain = static_cast<const C*>(call.gain);
    const auto* shift = static_cast<const C*>(call.shift);
    const int64_t tile = tile_rows<C>(steps, channels);
    const bool alone = steps == 1 && !k.leaks_input;
    std::vector<C> membranes(alone ? 0 : size_t(tile * channels));
    for (int64_t r = begin; r < end; r += tile) {
        const int64_t n = std::min(tile, end - r);
        std::fill(membranes.begin(), membranes.end(), C(0));
        for (int t = 0; t < steps; ++t) {
            const auto* x = static_cast<const Element*>(call.input) + t * pitch + r * channels;
            auto* s = static_cast<Element*>(call.output) + t * pitch + r * channels;
            with_form<C>(k, [&](auto form, auto divides) {
                with_flag(k.leaks_input, [&](auto leaks) {
                    C* v = membranes.data();
                    for (int64_t i = 0; i < n; ++i, x += channels, s += channels, v += channels)
                        for (int64_t c = 0; c < channels; c += kLanes<C>) {
                            const Vector<C> y = S::read(x + c) * load<C>(gain + c) +
                                                load<C>(shift + c);
                            if (alone) {
                                S::write(s + c, count<C, form(), divides()>(y, k) * k.unit,
                                         streaming);
                                continue;
                            }
                            const auto u = charge<C, leaks()>(y, load<C>(v + c), k);
                            const auto counts = count<C, form(), divides()>(u, k);
                            store<C>(v + c, reset<C, form()>(u, counts, k));
                            S::write(s + c, counts * k.unit, streaming);
                        }
                });
            });
        }
    }
}

// The gradient of the normalised current, written where that of the input will be, and per channel
// its sum and its product with the input's distance from the mean.
template <class S, int kind>
void norm_backward(const NormCall& call, int64_t begin, int64_t end, double* sums,
                   double* products) {
    using C = typename S::Compute;
    using Element = typename S::Element;
    const Constants<C> k(*call.rule);
    const Slope<C, kind> slope(*call.rule);
    const int64_t channels = call.channels, pitch = call.rows * channels;
    const int steps = call.rule->steps;
    const auto* gain = static_cast<const C*>(call.gain);
    const auto* shift = static_cast<const C*>(call.shift);
    const auto* mean = static_cast<const C*>(call.mean);
    const C admit = k.leaks_input ? k.admit : C(1);
    const int64_t tile = tile_rows<C>(steps, channels), columns = tile * channels;
    std::vector<C> buffer(size_t(columns) * size_t(steps + 1)), part(size_t(2 * channels));
    C* const g = buffer.data();
    C* const potentials = g + columns;
    C* const part_sum = part.data();
    C* const part_product = part_sum + channels;
    std::fill(sums, sums + channels, 0.0);
    std::fill(products, products + channels, 0.0);

    for (int64_t r = begin; r < end; r += tile) {
        const int64_t n = std::min(tile, end - r);
        std::fill(g, g + n * channels, C(0));
        for (int t = 0; t < steps; ++t) {
            const auto* x = static_cast<const Element*>(call.input) + t * pitch + r * channels;
            with_form<C>(k, [&](auto form, auto divides) {
                with_flag(k.leaks_input, [&](auto leaks) {
                    C *v = g, *u = potentials + t * columns;
                    for (int64_t i = 0; i < n; ++i, x += channels, v += channels, u += channels)
                        for (int64_t c = 0; c < channels; c += kLanes<C>) {
                            const Vector<C> y = S::read(x + c) * load<C>(gain + c) +
                                                load<C>(shift + c);
                            const auto potential = charge<C, leaks()>(y, load<C>(v + c), k);
                            store<C>(u + c, potential);
                            if (t + 1 < steps)
                                store<C>(v + c,
                                         reset<C, form()>(
                                             potential,
                                             count<C, form(), divides()>(potential, k), k));
                        }
                });
            });
        }
        std::fill(part.begin(), part.end(), C(0));
        for (int t = steps - 1; t >= 0; --t) {
            const int64_t at = t * pitch + r * channels;
            const auto* x = static_cast<const Element*>(call.input) + at;
            const auto* gs = static_cast<const Element*>(call.grad_output) + at;
            auto* gx = static_cast<Element*>(call.grad_input) + at;
            const C* u = potentials + t * columns;
            const bool later = t + 1 < steps;
            with_flag(k.form == kBinaryHard, [&](auto hard) {
                C* kept_row = g;
                for (int64_t i = 0; i < n; ++i) {
                    for (int64_t c = 0; c < channels; c += kLanes<C>) {
                        const Vector<C> potential = load<C>(u + c);
                        Vector<C> grad = S::read(gs + c) * k.unit;
                        if (later) {
                            Vector<C> kept = load<C>(kept_row + c);
                            if (!k.detached)
                                grad = grad - kept * (hard() ? potential : Vector<C>{} + k.threshold);
                            grad = grad * slope(potential);
                            if constexpr (hard())
                                kept = kept * (C(1) - count<C, kBinaryHard, false>(potential, k));
                            grad = grad + kept;
                        } else {
                            grad = grad * slope(potential);
                        }
                        store<C>(kept_row + c, grad * k.retain);
                        grad = grad * admit;
                        S::write(gx + c, grad, false);
                        store<C>(part_sum + c, load<C>(part_sum + c) + grad);
                        store<C>(part_product + c,
                                 multiply_add<C>(grad, S::read(x + c) - load<C>(mean + c),
                                                 load<C>(part_product + c)));
                    }
                    x += channels, gs += channels, gx += channels, u += channels;
                    kept_row += channels;
                }
            });
        }
        for (int64_t c = 0; c < channels; ++c) {
            sums[c] += double(part_sum[c]);
            products[c] += double(part_product[c]);
        }
    }
}

// gx = gain * g + slope * x + constant per channel, in place of g; rows over all time steps.
template <class S>
void norm_finish(const NormCall& call, int64_t begin, int64_t end, bool streaming) {
    using C = typename S::Compute;
    const int64_t channels = call.channels;
    const auto* x = static_cast<const typename S::Element*>(call.input) + begin * channels;
    auto* g = static_cast<typename S::Element*>(call.grad_input) + begin * channels;
    const auto* gain = static_cast<const C*>(call.gain);
    const auto* tilt = static_cast<const C*>(call.tilt);
    const auto* constant = static_cast<const C*>(call.constant);
    for (int64_t r = begin; r < end; ++r, x += channels, g += channels)
        for (int64_t c = 0; c < channels; c += kLanes<C>)
            S::write(g + c,
                     S::read(g + c) * load<C>(gain + c) + S::read(x + c) * load<C>(tilt + c) +
                         load<C>(constant + c),
                     streaming);
}

}  // namespace SPIKESIGHT_ISA
