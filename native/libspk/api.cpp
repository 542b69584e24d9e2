// The C interface: arguments are checked, and exceptions end here as a status and a text.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "error.hpp"
#include "executor.hpp"
#include "file/file.hpp"
#include "network/network.hpp"
#include "spk.h"
#include "state.hpp"

struct spk_network {
    std::shared_ptr<const spk::Network> network;
    std::vector<int32_t> outputs, neurons;  // places among the nodes
};

struct spk_session {
    std::shared_ptr<const spk::Network> network;
    std::vector<int32_t> outputs, neurons;
    spk::Settings settings;
    std::vector<spk::Shape> shapes;
    std::vector<double> scales;  // of the outputs, at this size
    std::unique_ptr<spk::Executor> executor;
    int32_t steps = 0;  // since the last rest
    std::vector<float> frame;
    std::vector<int32_t> place_of_neuron;  // by node, -1 of others
    spk_observer observer = nullptr;
    void* context = nullptr;
    std::string report;
};

namespace {

using spk::Error;

constexpr char kReference[] = "reference";
constexpr int32_t kMostThreads = 1024;
constexpr int32_t kMostImages = 1 << 16;
constexpr int64_t kMostElements = int64_t(1) << 40;

thread_local char last_error[1024] = "nothing went wrong";

spk_status failed(spk_status status, const char* problem) noexcept {
    std::snprintf(last_error, sizeof last_error, "%s", problem);
    return status;
}

template <typename Work>
spk_status guarded(const Work& work) noexcept {
    try {
        work();
        return SPK_OK;
    } catch (const Error& error) {
        return failed(error.status, error.what());
    } catch (const std::bad_alloc&) {
        return failed(SPK_NO_MEMORY, "there is not enough memory");
    } catch (const std::exception& error) {
        return failed(SPK_INTERNAL, error.what());
    } catch (...) {
        return failed(SPK_INTERNAL, "something unknown was thrown");
    }
}

void require(bool holds, const std::string& problem) {
    if (!holds) throw Error(SPK_BAD_ARGUMENT, problem);
}

void require_pointers(std::initializer_list<const void*> pointers) {
    for (const void* pointer : pointers) require(pointer, "a pointer is NULL");
}

template <typename Kind>
std::vector<int32_t> places_of(const spk::Network& network) {
    std::vector<int32_t> places;
    for (size_t index = 0; index < network.nodes.size(); index++)
        if (std::holds_alternative<Kind>(network.nodes[index].operation))
            places.push_back(int32_t(index));
    return places;
}

spk_network* opened(spk::Network network) {
    auto handle = std::make_unique<spk_network>();
    handle->network = std::make_shared<const spk::Network>(std::move(network));
    handle->outputs = places_of<spk::Output>(*handle->network);
    handle->neurons = places_of<spk::Neuron>(*handle->network);
    return handle.release();
}

std::string pixels_of(int64_t height, int64_t width) {
    return std::to_string(height) + "x" + std::to_string(width) + " pixels";
}

void require_size(const spk::Network& network, int64_t height, int64_t width) {
    const int64_t stride = network.input().stride;
    require(height > 0 && width > 0, "an input of " + pixels_of(height, width) + " is none");
    require(height % stride == 0 && width % stride == 0,
            "an input of " + pixels_of(height, width) + " is not divisible by the stride " +
                std::to_string(stride) + "; pad or resize it");
    require(height <= network.max_height && width <= network.max_width,
            "an input of " + pixels_of(height, width) + " is larger than the " +
                pixels_of(network.max_height, network.max_width) +
                " that the network's ranges are proved for; deploy again with a larger max_size");
}

// The names of all that runs here, best first.
std::vector<std::string> kernels_of_library() {
    std::vector<std::string> names = spk::kernels_here();
    names.push_back(kReference);
    return names;
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
    return text;
}

spk::Settings settings_of(const spk::Network& network, const spk_options& options) {
    spk::Settings settings;
    settings.batch = options.batch;
    settings.height = options.height ? options.height : network.max_height;
    settings.width = options.width ? options.width : network.max_width;
    settings.frames = options.frames != 0;
    settings.threads = options.threads ? options.threads
                                       : std::clamp<int>(int(std::thread::hardware_concurrency()),
                                                         1, kMostThreads);
    settings.form = options.form ? options.form : "";
    require(settings.batch >= 1 && settings.batch <= kMostImages,
            "a batch of " + std::to_string(options.batch) + " images is not 1 to " +
                std::to_string(kMostImages));
    require(settings.threads >= 1 && settings.threads <= kMostThreads,
            std::to_string(options.threads) + " threads are not 0 to " +
                std::to_string(kMostThreads));
    require_size(network, settings.height, settings.width);
    const std::vector<std::string> known = kernels_of_library();
    settings.kernels = options.kernels ? options.kernels : known.front();
    require(std::find(known.begin(), known.end(), settings.kernels) != known.end(),
            "the kernels \"" + settings.kernels.substr(0, 100) + "\" are not here; pass one of " +
                joined(known));
    const std::vector<std::string> forms = spk::forms_here();
    const bool free = settings.form.empty();
    require(free || std::find(forms.begin(), forms.end(), settings.form) != forms.end(),
            "synapses have no form \"" + settings.form.substr(0, 100) + "\"; pass one of " +
                joined(forms));
    return settings;
}

std::vector<spk::Shape> shapes_of(const spk::Network& network, const spk::Settings& settings) {
    std::vector<spk::Shape> shapes;
    try {
        shapes = spk::infer_shapes(network, settings.height, settings.width);
    } catch (const Error& error) {
        throw Error(SPK_BAD_ARGUMENT, "the network takes no input of " +
                                          pixels_of(settings.height, settings.width) + ": " +
                                          error.what());
    }
    for (const spk::Shape& shape : shapes)
        if (shape.elements() > kMostElements / settings.batch) throw std::bad_alloc();
    return shapes;
}

// Logits that are sums over pixels are worth more where there are fewer of these.
double scale_of(const spk::Network& network, const std::vector<spk::Shape>& largest,
                const std::vector<spk::Shape>& shapes, int32_t output) {
    const spk::Node& node = network.nodes[size_t(output)];
    const double scale = std::get<spk::Output>(node.operation).scale;
    const spk::Node& source = network.nodes[size_t(node.inputs[0])];
    if (!std::holds_alternative<spk::Pool>(source.operation)) return scale;
    const size_t map = size_t(source.inputs[0]);
    return scale * double(largest[map].pixels()) / double(shapes[map].pixels());
}

int64_t elements_of_frame(const spk_session& session) {
    return session.settings.batch * session.shapes.front().elements();
}

void require_finite(const float* values, int64_t count) {
    constexpr uint32_t exponent = 0x7f800000;
    uint32_t infinite = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        std::memcpy(&bits, values + i, sizeof bits);
        infinite |= uint32_t((bits & exponent) == exponent);
    }
    require(!infinite, "the input holds NaN or infinity");
}

void rest(spk_session& session) {
    session.executor->reset();
    session.steps = 0;
}

void advance(spk_session& session, const float* frame) {
    const int32_t step = session.steps;
    // Where a step fails halfway, only rest is a state to go on from.
    session.steps = session.network->input().steps;
    spk::Observer observe;
    if (session.observer)
        observe = [&](int32_t node, const uint8_t* counts, size_t size) {
            session.observer(session.context, session.place_of_neuron[size_t(node)], step, counts,
                             size);
        };
    session.executor->step(frame, observe);
    session.steps = step + 1;
}

void read_outputs(const spk_session& session, int32_t* const* outputs) {
    for (size_t i = 0; i < session.outputs.size(); i++) {
        require_pointers({outputs[i]});
        session.executor->read_output(session.outputs[i], outputs[i]);
    }
}

// Frames [B, T, ...] of one time step, as [B, ...].
const float* frame_of(spk_session& session, const float* input, int32_t step) {
    const int64_t steps = session.network->input().steps;
    const int64_t size = session.shapes.front().elements();
    if (session.settings.batch == 1) return input + step * size;
    session.frame.resize(size_t(elements_of_frame(session)));
    for (int64_t sample = 0; sample < session.settings.batch; sample++)
        std::copy_n(input + (sample * steps + step) * size, size,
                    session.frame.data() + sample * size);
    return session.frame.data();
}

const spk::Node& node_at(const spk_session& session, const std::vector<int32_t>& places,
                         int32_t index, const char* kind) {
    require(index >= 0 && size_t(index) < places.size(),
            "there is no " + std::string(kind) + " " + std::to_string(index) + " of " +
                std::to_string(places.size()));
    return session.network->nodes[size_t(places[size_t(index)])];
}

}  // namespace

extern "C" {

int32_t spk_interface(void) { return SPK_INTERFACE; }

const char* spk_last_error(void) { return last_error; }

spk_status spk_open(const char* path, spk_network** network) {
    return guarded([&] {
        require_pointers({path, network});
        *network = opened(spk::open_network(path));
    });
}

spk_status spk_read(const void* bytes, size_t size, spk_network** network) {
    return guarded([&] {
        require_pointers({bytes, network});
        *network = opened(spk::read_network(static_cast<const uint8_t*>(bytes), size));
    });
}

void spk_close(spk_network* network) { delete network; }

spk_status spk_describe(const spk_network* network, spk_info* info) {
    return guarded([&] {
        require_pointers({network, info});
        const spk::Input& input = network->network->input();
        *info = {input.steps,
                 input.channels,
                 input.stride,
                 network->network->max_height,
                 network->network->max_width,
                 int32_t(network->outputs.size()),
                 int32_t(network->neurons.size())};
    });
}

const char* spk_card(const spk_network* network) {
    return network && network->network->card ? network->network->card->c_str() : nullptr;
}

const char* spk_kernels(void) {
    static const std::string names = joined(kernels_of_library());
    return names.c_str();
}

spk_status spk_prepare(
    const spk_network* network, const spk_options* options, spk_session** session) {
    return guarded([&] {
        require_pointers({network, options, session});
        auto made = std::make_unique<spk_session>();
        made->network = network->network;
        made->outputs = network->outputs;
        made->neurons = network->neurons;
        made->settings = settings_of(*made->network, *options);
        made->shapes = shapes_of(*made->network, made->settings);
        const std::vector<spk::Shape> largest = spk::infer_shapes(
            *made->network, made->network->max_height, made->network->max_width);
        for (int32_t output : made->outputs)
            made->scales.push_back(scale_of(*made->network, largest, made->shapes, output));
        made->place_of_neuron.assign(made->network->nodes.size(), -1);
        for (size_t i = 0; i < made->neurons.size(); i++)
            made->place_of_neuron[size_t(made->neurons[i])] = int32_t(i);
        made->executor = made->settings.kernels == kReference
                             ? spk::make_reference(made->network, made->settings)
                             : spk::make_engine(made->network, made->settings);
        rest(*made);
        *session = made.release();
    });
}

void spk_release(spk_session* session) { delete session; }

spk_status spk_output_of(const spk_session* session, int32_t index, spk_output* output) {
    return guarded([&] {
        require_pointers({session, output});
        const spk::Node& node = node_at(*session, session->outputs, index, "output");
        const spk::Shape& shape = session->shapes[size_t(session->outputs[size_t(index)])];
        const int64_t batch = session->settings.batch;
        *output = {node.name.c_str(), session->scales[size_t(index)], 2,
                   {batch, shape.channels, 1, 1}};
        if (std::get<spk::Output>(node.operation).of_queries) {
            output->rank = 3;
            output->shape[1] = shape.pixels();
            output->shape[2] = shape.channels;
        } else if (shape.is_map) {
            output->rank = 4;
            output->shape[2] = shape.height;
            output->shape[3] = shape.width;
        }
    });
}

spk_status spk_neuron_of(const spk_session* session, int32_t index, spk_neuron* neuron) {
    return guarded([&] {
        require_pointers({session, neuron});
        const spk::Node& node = node_at(*session, session->neurons, index, "neuron");
        const spk::Shape& shape = session->shapes[size_t(session->neurons[size_t(index)])];
        *neuron = {node.name.c_str(),
                   std::get<spk::Neuron>(node.operation).levels,
                   shape.is_map ? 4 : 2,
                   {session->settings.batch, shape.channels, shape.height, shape.width}};
    });
}

spk_status spk_run(spk_session* session, const float* input, int32_t* const* outputs) {
    return guarded([&] {
        require_pointers({session, input, outputs});
        const int32_t steps = session->network->input().steps;
        const bool frames = session->settings.frames;
        require_finite(input, elements_of_frame(*session) * (frames ? steps : 1));
        rest(*session);
        for (int32_t step = 0; step < steps; step++) {
            if (frames)
                advance(*session, frame_of(*session, input, step));
            else
                advance(*session, step == 0 ? input : nullptr);
        }
        read_outputs(*session, outputs);
    });
}

spk_status spk_step(spk_session* session, const float* input, int32_t* const* outputs) {
    return guarded([&] {
        require_pointers({session, input});
        const int32_t steps = session->network->input().steps;
        require(session->steps < steps, "the network has made its " + std::to_string(steps) +
                                            " time steps; call spk_reset first");
        require_finite(input, elements_of_frame(*session));
        advance(*session, input);
        if (outputs) read_outputs(*session, outputs);
    });
}

spk_status spk_reset(spk_session* session) {
    return guarded([&] {
        require_pointers({session});
        rest(*session);
    });
}

size_t spk_state_size(const spk_session* session) {
    return session ? spk::kStateHeader + session->executor->state_size() : 0;
}

spk_status spk_save_state(const spk_session* session, void* state) {
    return guarded([&] {
        require_pointers({session, state});
        spk::write_state(*session->executor, session->settings, session->steps,
                         static_cast<uint8_t*>(state));
    });
}

spk_status spk_load_state(spk_session* session, const void* state, size_t size) {
    return guarded([&] {
        require_pointers({session, state});
        session->steps =
            spk::read_state(*session->network, session->shapes, session->settings,
                            static_cast<const uint8_t*>(state), size, *session->executor);
    });
}

spk_status spk_observe(spk_session* session, spk_observer observer, void* context) {
    return guarded([&] {
        require_pointers({session});
        session->observer = observer;
        session->context = context;
    });
}

const char* spk_report(spk_session* session) {
    if (!session) return "";
    const spk_status status = guarded([&] { session->report = session->executor->report(); });
    return status == SPK_OK ? session->report.c_str() : "";
}

}  // extern "C"
