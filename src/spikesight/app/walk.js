// Moves the maps of a walk to a step. `element` is the component, which stays while its content changes.
function show(walk, step) {
  const length = Number(walk.dataset.length), levels = Number(walk.dataset.levels);
  const slider = walk.querySelector('input'), output = walk.querySelector('output');
  const time = Math.ceil(step / levels), sub = (step - 1) % levels + 1;
  const at = length > levels ? ` (time step ${time}, sub-step ${sub})` : '';
  const text = `step ${step} of ${length}${at}`;
  walk.style.setProperty('--step', step);
  slider.value = step;
  slider.setAttribute('aria-valuetext', text);
  output.textContent = text;
}
let timer = null;
function stop() {
  clearInterval(timer);
  timer = null;
  element.querySelectorAll('.play').forEach(button => { button.textContent = 'Play'; });
}
element.addEventListener('input', event => {
  const walk = event.target.closest('.walk');
  if (walk) { stop(); show(walk, Number(event.target.value)); }
});
element.addEventListener('click', event => {
  if (!event.target.matches('.play')) return;
  const walk = event.target.closest('.walk'), length = Number(walk.dataset.length);
  if (timer) { stop(); return; }
  let step = Number(walk.querySelector('input').value);
  if (step >= length) step = 0;
  event.target.textContent = 'Stop';
  timer = setInterval(() => {
    step += 1;
    if (!walk.isConnected || step > length) { stop(); return; }
    show(walk, step);
  }, Math.max(60, Math.min(400, 3200 / length)));
});
