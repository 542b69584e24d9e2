// The engine against the reference, on networks of files and noise:
//
//     spk-test-engine FILE ...
//
// Every instruction set, every form of synapses, 1 to 3 threads, batches of 1 and 3, images and
// frames; counts of each time step, sums, and the state, which the engine takes over from the
// reference half way. Prints what differs.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>

#include "engine/instruction_sets.hpp"
#include "engine/threads.hpp"
#include "executor.hpp"
#include "file/file.hpp"

namespace spk::tests {
namespace {

struct Noise {
    std::vector<float> values;
    size_t frame;  // values of one time step

    Noise(const Input& input, const Settings& settings) {
        frame = size_t(settings.batch * input.channels * settings.height * settings.width);
        std::mt19937 random(7);
        std::normal_distribution<float> normal;
        values.resize(frame * size_t(settings.frames ? input.steps : 1));
        for (float& value : values) value = normal(random);
    }
    const float* at(int32_t step, bool frames) const {
        if (frames) return values.data() + frame * size_t(step);
        return step ? nullptr : values.data();
    }
};

struct Seen {
    std::map<std::pair<int32_t, int32_t>, std::vector<uint8_t>> counts;  // by step and neuron
    std::vector<uint8_t> halfway;                                        // state
    std::vector<int32_t> outputs;
};

int64_t output_size(const Network& network, const Settings& settings, size_t node) {
    return settings.batch * infer_shapes(network, settings.height, settings.width)[node].elements();
}

// `begin` is a state to take over before the second half of the time steps.
Seen run(Executor& executor, const Network& network, const Settings& settings, const Noise& noise,
         const std::vector<uint8_t>* begin) {
    Seen seen;
    const int32_t steps = network.input().steps;
    executor.reset();
    for (int32_t step = 0; step < steps; ++step) {
        if (step == steps / 2) {
            seen.halfway.resize(executor.state_size());
            executor.save_state(seen.halfway.data());
            if (begin && begin->size() == seen.halfway.size()) {
                std::vector<uint8_t> other(begin->size(), 1);
                executor.load_state(other.data());
                executor.load_state(begin->data());
            }
        }
        const auto observe = [&](int32_t node, const uint8_t* counts, size_t size) {
            seen.counts[{step, node}].assign(counts, counts + size);
        };
        executor.step(noise.at(step, settings.frames), observe);
    }
    for (size_t node = 0; node < network.nodes.size(); ++node) {
        if (!std::holds_alternative<Output>(network.nodes[node].operation)) continue;
        const size_t before = seen.outputs.size();
        seen.outputs.resize(before + size_t(output_size(network, settings, node)));
        executor.read_output(int32_t(node), seen.outputs.data() + before);
    }
    return seen;
}

int compare(const Network& network, const Seen& expected, const Seen& found, const char* text) {
    for (const auto& [place, counts] : expected.counts) {
        const auto own = found.counts.find(place);
        if (own != found.counts.end() && own->second == counts) continue;
        std::printf(
            "%s: counts of %s differ in step %d\n", text,
            network.nodes[size_t(place.second)].name.c_str(), place.first);
        return 1;
    }
    if (expected.outputs != found.outputs) std::printf("%s: outputs differ\n", text);
    if (expected.halfway != found.halfway) std::printf("%s: states differ\n", text);
    return expected.outputs != found.outputs || expected.halfway != found.halfway;
}

int test_settings(const std::shared_ptr<const Network>& network, Settings settings) {
    const Noise noise(network->input(), settings);
    const std::unique_ptr<Executor> reference = make_reference(network, settings);
    const Seen expected = run(*reference, *network, settings, noise, nullptr);
    int differing = 0;
    for (const std::string& kernels : kernels_here()) {
        std::vector<std::string> forms = {""};
        for (const SynapseForm& form : instruction_set(kernels).synapses) {
            forms.push_back(form.name);
        }
        for (const std::string& form : forms) {
            settings.kernels = kernels;
            settings.form = form;
            settings.threads = settings.threads % 3 + 1;
            const std::unique_ptr<Executor> engine = make_engine(network, settings);
            const std::string text =
                kernels + " " + form + " threads " + std::to_string(settings.threads) + " batch " +
                std::to_string(settings.batch) + (settings.frames ? " frames" : "");
            for (int32_t call = 0; call < 2; ++call) {
                const Seen found = run(*engine, *network, settings, noise, &expected.halfway);
                differing += compare(*network, expected, found, text.c_str());
            }
        }
    }
    return differing;
}

int test_file(const char* path) {
    const auto network = std::make_shared<const Network>(open_network(path));
    const Input& input = network->input();
    const auto side = [&](int32_t most) {
        return std::max(std::min(most, 64) / input.stride, 1) * input.stride;
    };
    int differing = 0;
    for (const int64_t batch : {1, 3}) {
        for (const bool frames : {false, true}) {
            if (frames && input.steps == 1) continue;
            Settings settings{batch,  side(network->max_height), side(network->max_width),
                              frames, int(batch),                "",
                              ""};
            differing += test_settings(network, settings);
        }
    }
    std::printf("%s: %d differing\n", path, differing);
    return differing;
}

// Jobs of many sizes, one after the other: each task runs once, in whichever thread.
int test_threads() {
    int wrong = 0;
    for (int count = 1; count < 5; ++count) {
        Threads threads(count);
        for (int64_t tasks = 0; tasks < 400; ++tasks) {
            std::vector<int> runs(size_t(tasks), 0);
            std::atomic<int> strangers{0};
            threads.run(tasks, [&](int64_t task, int thread) {
                runs[size_t(task)] += 1;
                if (thread < 0 || thread >= count) ++strangers;
            });
            wrong += strangers + int(std::count_if(runs.begin(), runs.end(), [](int times) {
                         return times != 1;
                     }));
        }
    }
    std::printf("threads: %d wrong\n", wrong);
    return wrong;
}

}  // namespace
}  // namespace spk::tests

int main(int count, char** words) {
    int differing = spk::tests::test_threads();
    for (int i = 1; i < count; ++i) differing += spk::tests::test_file(words[i]);
    return differing != 0;
}
