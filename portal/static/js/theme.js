// Sets the chosen theme before the first paint. Loaded in <head> without defer so that no page flashes;
// everything that changes the choice afterwards is in app.js.
try {
  const chosen = localStorage.getItem("gatehouse.theme");
  if (chosen === "light" || chosen === "dark" || chosen === "contrast") document.documentElement.dataset.theme = chosen;
  else if (matchMedia("(prefers-contrast: more)").matches) document.documentElement.dataset.theme = "contrast";
} catch {
  // Storage may be switched off: the system's own preference then applies through color-scheme.
}
document.documentElement.classList.add("js");
