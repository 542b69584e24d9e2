// spk-run: a network file and an input, answers as text or JSON.
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "command/answers.hpp"
#include "command/arguments.hpp"
#include "command/benchmark.hpp"
#include "command/golden.hpp"
#include "command/input.hpp"
#include "command/mistake.hpp"
#include "command/network.hpp"
#include "command/observation.hpp"

namespace spk::command {

namespace {

template <typename... Values>
std::string text_of(const char* format, Values... values) {
    char text[512];
    std::snprintf(text, sizeof text, format, values...);
    return text;
}

// What --kernels asks for, or what is best here.
std::string kernels_of(const Arguments& arguments) {
    const std::string known = spk_kernels();
    return arguments.kernels.empty() ? known.substr(0, known.find(' ')) : arguments.kernels;
}

int compare(const Arguments& arguments, const Network& network) {
    const std::vector<GoldenLayer> layers = compare_with_golden(arguments, network);
    int64_t differing = 0, compared = 0;
    std::string members;
    for (const GoldenLayer& layer : layers) {
        differing += layer.differing;
        compared += layer.compared;
        if (arguments.json)
            members += (members.empty() ? "" : ",") + json_text(layer.name) + ":" +
                       std::to_string(layer.differing);
        else
            std::printf("%10lld of %10lld differ: %s\n", (long long)layer.differing,
                        (long long)layer.compared, layer.name.c_str());
    }
    if (arguments.json)
        std::printf("{\"kernels\":%s,\"compared\":%lld,\"differing\":%lld,\"layers\":{%s}}\n",
                    json_text(kernels_of(arguments)).c_str(), (long long)compared,
                    (long long)differing, members.c_str());
    else
        std::printf("%lld of %lld counts and logits differ (%s)\n", (long long)differing,
                    (long long)compared, kernels_of(arguments).c_str());
    return differing ? 1 : 0;
}

int answer(const Arguments& arguments) {
    const double start = milliseconds_now();
    const Network network = open_network(arguments.network);
    const double opened = milliseconds_now();
    if (!arguments.golden.empty()) return compare(arguments, network);
    const Input input = read_input(arguments, network);
    const double read = milliseconds_now();
    const spk_info info = info_of(network);
    const Session session =
        prepare(network, arguments, input.batch, input.height, input.width, input.frames);
    const double prepared = milliseconds_now();
    std::vector<Output> outputs = outputs_of(session, info.outputs);
    run(session, input.values, outputs);
    const double answered = milliseconds_now();
    const bool json = arguments.json;
    std::string members = "\"kernels\":" + json_text(kernels_of(arguments));
    if (json)
        members += "," + as_json(outputs, classes_of(network));
    else if (!arguments.bench && !arguments.observe)
        std::fputs(as_text(outputs, classes_of(network)).c_str(), stdout);
    if (arguments.observe) {
        const std::vector<NeuronLayer> neurons = neurons_of(session, info.neurons);
        const std::vector<Activity> activities =
            observe(session, input.values, outputs, neurons.size());
        run(session, input.values, outputs);  // what is timed goes on without a look at it
        const char* report = spk_report(session.get());
        if (json)
            members += "," + activity_json(neurons, activities, report);
        else
            std::fputs(activity_text(neurons, activities, report).c_str(), stdout);
    }
    if (arguments.bench) {
        const Times times = time_runs(session, input.values, outputs, arguments.rounds);
        // The input is not read within it.
        const double start_up = answered - start - (read - opened);
        const double megabytes = resident_megabytes(), peak = peak_megabytes();
        if (json)
            members += text_of(",\"milliseconds\":%.3f,\"fastest\":%.3f,\"start_up\":%.3f,"
                               "\"resident_megabytes\":%.1f,\"peak_megabytes\":%.1f",
                               times.median, times.fastest, start_up, megabytes, peak);
        else
            std::printf("%.2f ms (median of %d runs, the fastest %.2f), batch %d of %dx%d pixels, "
                        "%s\nstart-up %.1f ms from file to first answer: reading %.1f, preparing "
                        "%.1f, answering %.1f\nmemory %.1f MB resident, %.1f MB at most\n",
                        times.median, arguments.rounds, times.fastest, input.batch, input.height,
                        input.width, kernels_of(arguments).c_str(), start_up, opened - start,
                        prepared - read, answered - prepared, megabytes, peak);
    }
    if (json) std::printf("{%s}\n", members.c_str());
    return 0;
}

}  // namespace

}  // namespace spk::command

int main(int count, char** words) {
    using namespace spk::command;
    try {
        const Arguments arguments = read_arguments(count, words);
        if (arguments.help) {
            std::fputs(usage(), stdout);
            return 0;
        }
        if (arguments.version) {
            std::printf("interface %d; kernels here, the fastest first: %s\n", spk_interface(),
                        spk_kernels());
            return 0;
        }
        return answer(arguments);
    } catch (const Mistake& mistake) {
        std::fprintf(stderr, "spk-run: %s\n", mistake.what());
    } catch (const std::bad_alloc&) {
        std::fputs("spk-run: there is too little memory for that\n", stderr);
    } catch (const std::exception& fault) {
        std::fprintf(stderr, "spk-run: %s\n", fault.what());
    }
    return 2;
}
