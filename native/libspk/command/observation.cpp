#include "command/observation.hpp"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "command/answers.hpp"

namespace spk::command {

namespace {

using Row = std::vector<std::string>;

std::string share(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4f", value);
    return text;
}

double firing_rate(const NeuronLayer& neuron, const Activity& activity) {
    return double(activity.sum) / double(std::max<int64_t>(activity.counts, 1)) / neuron.levels;
}

double nonzero_share(const Activity& activity) {
    return double(activity.nonzero) / double(std::max<int64_t>(activity.counts, 1));
}

// Lines and fields of a report.
std::vector<Row> rows_of(const char* report) {
    std::vector<Row> rows;
    std::istringstream lines(report);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        Row row;
        for (std::string field; std::getline(fields, field, '\t');) row.push_back(field);
        rows.push_back(std::move(row));
    }
    return rows;
}

std::string table(const std::vector<Row>& rows) {
    std::vector<size_t> widths;
    for (const Row& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const Row& row : rows) {
        for (size_t i = 0; i < row.size(); i++) {
            const std::string padding(widths[i] - row[i].size(), ' ');
            text += (i ? "  " : "") + (i ? padding + row[i] : row[i] + padding);
        }
        text += "\n";
    }
    return text;
}

}  // namespace

std::vector<Activity> observe(const Session& session, const std::vector<float>& input,
                              std::vector<Output>& outputs, size_t neurons) {
    std::vector<Activity> activities(neurons);
    const spk_observer observer = [](void* context, int32_t neuron, int32_t, const uint8_t* counts,
                                     size_t size) {
        Activity& activity = (*static_cast<std::vector<Activity>*>(context))[size_t(neuron)];
        activity.counts += int64_t(size);
        activity.nonzero += int64_t(size) - std::count(counts, counts + size, 0);
        for (size_t i = 0; i < size; i++) activity.sum += counts[i];
    };
    check(spk_observe(session.get(), observer, &activities), "");
    run(session, input, outputs);
    check(spk_observe(session.get(), nullptr, nullptr), "");
    return activities;
}

std::string activity_text(const std::vector<NeuronLayer>& neurons,
                          const std::vector<Activity>& activities, const char* report) {
    std::vector<Row> rows = {{"neuron", "counts", "firing rate", "nonzero"}};
    for (size_t i = 0; i < neurons.size(); i++)
        rows.push_back({neurons[i].name, std::to_string(activities[i].counts),
                        share(firing_rate(neurons[i], activities[i])),
                        share(nonzero_share(activities[i]))});
    std::vector<Row> layers = {{"layer", "kernels", "form", "nonzero", "us"}};
    for (Row& row : rows_of(report)) layers.push_back(std::move(row));
    return table(rows) + "\n" + table(layers);
}

std::string activity_json(const std::vector<NeuronLayer>& neurons,
                          const std::vector<Activity>& activities, const char* report) {
    std::string text = "\"neurons\":[";
    for (size_t i = 0; i < neurons.size(); i++)
        text += (i ? ",{\"name\":" : "{\"name\":") + json_text(neurons[i].name) +
                ",\"counts\":" + std::to_string(activities[i].counts) +
                ",\"firing_rate\":" + share(firing_rate(neurons[i], activities[i])) +
                ",\"nonzero\":" + share(nonzero_share(activities[i])) + "}";
    text += "],\"layers\":[";
    for (const Row& row : rows_of(report)) {
        if (row.size() != 5) continue;
        text += (text.back() == '[' ? "{\"name\":" : ",{\"name\":") + json_text(row[0]) +
                ",\"kernels\":" + json_text(row[1]) + ",\"form\":" + json_text(row[2]) +
                ",\"nonzero\":" + (row[3] == "-" ? "null" : row[3]) +
                ",\"microseconds\":" + row[4] + "}";
    }
    return text + "]";
}

}  // namespace spk::command
