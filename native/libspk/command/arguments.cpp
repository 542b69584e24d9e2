#include "command/arguments.hpp"

#include <cstdlib>
#include <functional>
#include <map>
#include <optional>

#include "command/mistake.hpp"

namespace spk::command {

namespace {

int32_t whole_number(const std::string& name, const std::string& word, int32_t least) {
    char* end = nullptr;
    const long value = std::strtol(word.c_str(), &end, 10);
    const bool is_number = !word.empty() && *end == '\0' && value >= least && value <= 1 << 30;
    require(is_number, name + " is \"" + word + "\"; pass a whole number of at least " +
                           std::to_string(least));
    return int32_t(value);
}

void read_size(Arguments& arguments, const std::string& word) {
    const size_t cross = word.find('x');
    const std::string height = word.substr(0, cross);
    arguments.height = whole_number("--size", height, 1);
    arguments.width = cross == std::string::npos
                          ? arguments.height
                          : whole_number("--size", word.substr(cross + 1), 1);
}

}  // namespace

Arguments read_arguments(int count, char** words) {
    Arguments arguments;
    const std::map<std::string, bool*> flags = {
        {"--frames", &arguments.frames}, {"--bench", &arguments.bench},
        {"--observe", &arguments.observe}, {"--json", &arguments.json},
        {"--help", &arguments.help}, {"-h", &arguments.help},
        {"--version", &arguments.version},
    };
    const std::map<std::string, std::function<void(const std::string&)>> options = {
        {"--kernels", [&](const std::string& word) { arguments.kernels = word; }},
        {"--form", [&](const std::string& word) { arguments.form = word; }},
        {"--golden", [&](const std::string& word) { arguments.golden = word; }},
        {"--size", [&](const std::string& word) { read_size(arguments, word); }},
        {"--batch", [&](const auto& word) { arguments.batch = whole_number("--batch", word, 1); }},
        {"--threads",
         [&](const auto& word) { arguments.threads = whole_number("--threads", word, 0); }},
        {"--rounds",
         [&](const auto& word) { arguments.rounds = whole_number("--rounds", word, 1); }},
    };
    int files = 0;
    for (int i = 1; i < count; i++) {
        std::string word = words[i];
        if (word.rfind("-", 0) != 0) {
            require(files < 2, "\"" + word + "\" is a third file; pass a network and an input");
            (files++ == 0 ? arguments.network : arguments.input) = word;
            continue;
        }
        if (const auto flag = flags.find(word); flag != flags.end()) {
            *flag->second = true;
            continue;
        }
        std::optional<std::string> value;
        if (const size_t equals = word.find('='); equals != std::string::npos) {
            value = word.substr(equals + 1);
            word.resize(equals);
        }
        const auto option = options.find(word);
        require(option != options.end(), "there is no option " + word + "; see --help");
        if (!value) {
            require(i + 1 < count, word + " lacks its value; see --help");
            value = words[++i];
        }
        option->second(*value);
    }
    require(files > 0 || arguments.help || arguments.version,
            "pass a network, such as net.spk; see --help");
    return arguments;
}

const char* usage() {
    return
        R"(spk-run: runs a deployed spiking network, integers alone

    spk-run net.spk photo.ppm                 what the photo shows
    spk-run net.spk image.npy --json          logits of normalised numbers
    spk-run net.spk --bench --threads 2       milliseconds, start-up and memory
    spk-run net.spk photo.ppm --observe       what every layer does, and how long it takes
    spk-run net.spk --golden net.golden       compares every count with golden vectors

A photo is a .ppm or .pgm file (P6 or P5, 8 bits); ImageMagick writes one: convert a.jpg a.ppm. It
is prepared as in training, as the network's card says: its shorter side is resized (bicubic,
antialiased), unless it has that length, and the centre cropped. Detectors and segmenters take a
photo as it is. Numbers are float32, normalised already: an .npy file [C, H, W] or [B, C, H, W], or
bare numbers of --size in a file of another ending. Without an input there is noise.

    --size HxW       height and width of the input in pixels; one number for both. Of noise and
                     bare numbers the network's largest if omitted.
    --batch N        inputs of noise (1)
    --frames         the numbers are frames, [T, C, H, W] or [B, T, C, H, W]
    --threads N      0 takes one for each core (0)
    --kernels NAME   an instruction set, or reference; the fastest that is here if omitted
    --form NAME      of synapses: dense, sparse, ...; the fastest of each layer if omitted
    --bench          times runs after one another, and shows start-up and resident memory
    --rounds N       runs that are timed (15)
    --observe        firing rate and nonzero counts of each neuron; kernels, form and microseconds
                     of each layer
    --golden FOLDER  the golden vectors that net.export("net.c") writes
    --json           one JSON object instead of text
    --version        of the interface, and the kernels that run here

It ends with 0; with 1 where golden vectors differ; with 2 after a mistake in what was asked.
)";
}

}  // namespace spk::command
