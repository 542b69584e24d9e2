// Rounding without the mathematical library, which compilers can put into vectors.
#pragma once

namespace spk {

// To the nearest integer, half to even, of values between -2^22 and 2^22.
inline float round_half_to_even(float value) {
    // The sum has no bits after the point.
    constexpr float kWhole = 12582912.0f;  // 3 * 2^22
    return (value + kWhole) - kWhole;
}

}  // namespace spk
