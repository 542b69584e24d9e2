"""`spikesight app`: a page in the browser that shows what networks see, and their spikes."""
