"""Less memory in training, and how much it is."""

from spikesight.memory.peak import PeakMemory as PeakMemory
from spikesight.memory.saving import Memory as Memory, low_memory as low_memory
