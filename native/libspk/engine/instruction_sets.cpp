#include "engine/instruction_sets.hpp"

#include <algorithm>

#include "error.hpp"
#include "executor.hpp"

namespace spk {
namespace {

// Best first.
std::vector<const InstructionSet*> sets_here() {
    const InstructionSet* sets[] = {
#if defined(__x86_64__) || defined(_M_X64)
        &amx_set(),
        &avx512_set(),
        &avx2_set(),
#elif defined(__aarch64__)
        &neon_set(),
#endif
        &generic_set()};
    std::vector<const InstructionSet*> here;
    for (const InstructionSet* set : sets) {
        if (set->is_here()) here.push_back(set);
    }
    return here;
}

}  // namespace

std::vector<std::string> kernels_here() {
    std::vector<std::string> names;
    for (const InstructionSet* set : sets_here()) names.push_back(set->name);
    return names;
}

std::vector<std::string> forms_here() {
    std::vector<std::string> names;
    for (const InstructionSet* set : sets_here()) {
        for (const SynapseForm& form : set->synapses) {
            if (std::find(names.begin(), names.end(), form.name) == names.end()) {
                names.push_back(form.name);
            }
        }
    }
    return names;
}

const InstructionSet& instruction_set(const std::string& name) {
    const std::vector<const InstructionSet*> here = sets_here();
    if (name.empty()) return *here.front();
    std::string known;
    for (const InstructionSet* set : here) {
        if (name == set->name) return *set;
        known += std::string(known.empty() ? "" : ", ") + set->name;
    }
    throw Error(
        SPK_BAD_ARGUMENT, "no kernels '" + name + "' run on this processor; take one of: " + known);
}

}  // namespace spk
