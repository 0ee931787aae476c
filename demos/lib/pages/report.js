// The page of one_matrix.py: what is folded away on a screen is there on paper.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
