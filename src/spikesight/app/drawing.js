// A board to draw on by pointer, or by arrow keys while space holds the pen down.
const board = element.querySelector('canvas'), pen = board.getContext('2d');
const state = element.querySelector('.pen');
let down = false, inked = false, x = board.width / 2, y = board.height / 2;
pen.lineWidth = board.width / 14;
pen.lineCap = pen.lineJoin = 'round';
pen.strokeStyle = '#ffffff';
function line(toX, toY) {
  pen.beginPath(); pen.moveTo(x, y); pen.lineTo(toX, toY); pen.stroke();
  x = toX; y = toY;
}
function place(event) {
  const box = board.getBoundingClientRect();
  return [(event.clientX - box.left) * board.width / box.width,
          (event.clientY - box.top) * board.height / box.height];
}
board.addEventListener('pointerdown', event => {
  event.preventDefault(); board.focus({ preventScroll: true }); board.setPointerCapture(event.pointerId);
  [x, y] = place(event); down = true; line(x, y);
});
board.addEventListener('pointermove', event => { if (down) line(...place(event)); });
for (const end of ['pointerup', 'pointercancel'])
  board.addEventListener(end, () => { down = false; });
board.addEventListener('keydown', event => {
  const step = board.width / 28;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.key === ' ') {
    inked = !inked;
    if (inked) line(x, y);
  } else if (moves[event.key]) {
    const toX = Math.min(board.width, Math.max(0, x + moves[event.key][0]));
    const toY = Math.min(board.height, Math.max(0, y + moves[event.key][1]));
    if (inked) line(toX, toY); else { x = toX; y = toY; }
  } else return;
  event.preventDefault();
  state.textContent = `Pen ${inked ? 'down' : 'up'}, ${Math.round(100 * x / board.width)} % from the left, ` +
    `${Math.round(100 * y / board.height)} % from the top`;
});
element.addEventListener('click', event => {
  if (event.target.matches('.clear')) pen.clearRect(0, 0, board.width, board.height);
  if (event.target.matches('.look')) trigger('submit', { drawing: board.toDataURL('image/png') });
});
