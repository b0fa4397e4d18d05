
try {
  const kept = localStorage.getItem("archipel-theme");
  if (kept) document.documentElement.dataset.theme = kept;
} catch { /* no storage: as the system has it */ }
if (location.protocol === "file:") {
  document.getElementById("status").textContent = "A page opened from a file may not load its networks; serve this folder, such as by: python -m http.server";
}
