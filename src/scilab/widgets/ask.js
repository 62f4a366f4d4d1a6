// Asking the kernel to do something, and hearing what became of it.

const LATE = "Waiting for the kernel: a cell is running, or the kernel has ended.";

// asking(model, late) → {ask(action, args, buffers) → promise of the answer, stop()}. A busy kernel is named in `late`,
// never waited for in silence.
export function asking(model, late) {
  const pending = new Map();
  const me = Math.random().toString(36).slice(2); // several views may ask at once
  let asked = 0;

  function ask(action, args = {}, buffers = undefined) {
    asked += 1;
    const id = `${me}-${asked}`;
    return new Promise((resolve) => {
      const timer = setTimeout(() => { late.textContent = LATE; }, 2000);
      pending.set(id, (answer) => { clearTimeout(timer); late.textContent = ""; resolve(answer); });
      model.send({ action, args, id }, undefined, buffers);
    });
  }

  function heard(message) {
    if (message.type !== "answer" || !pending.has(message.id)) return;
    pending.get(message.id)(message);
    pending.delete(message.id);
  }

  model.on("msg:custom", heard);
  return { ask, stop: () => model.off("msg:custom", heard) };
}
