// Answers that are on their way. Each is kept in the browser until the kernel says that it is on disk, so that a kernel
// that dies, or a page that is closed, between the two loses none: the next one sends them again, under the same id.

// unsaved(project) → {put(args), done(id), all()}
export function unsaved(project) {
  const key = `scilab-answers ${project}`;
  const kept = new Map();
  try {
    for (const args of JSON.parse(localStorage.getItem(key) || "[]")) kept.set(args.answer_id, args);
  } catch { /* no storage here: then only this page remembers */ }

  function write() {
    try {
      if (kept.size) localStorage.setItem(key, JSON.stringify([...kept.values()]));
      else localStorage.removeItem(key);
    } catch { /* as above */ }
  }

  return {
    put(args) { kept.set(args.answer_id, args); write(); },
    done(id) { kept.delete(id); write(); },
    all: () => [...kept.values()],
  };
}
