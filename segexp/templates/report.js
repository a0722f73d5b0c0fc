// The report: contents that follow the reader, copying, folds that open on paper.

const narrow = window.matchMedia("(max-width: 63.99rem)");

function makeContents() {
  const contents = document.getElementById("contents");
  const fold = () => { contents.open = !narrow.matches; };
  fold();
  narrow.addEventListener("change", fold);
  contents.querySelector("summary").addEventListener("click", (event) => {
    if (!narrow.matches) event.preventDefault();
  });
  const links = new Map();
  for (const link of contents.querySelectorAll("a")) {
    links.set(document.getElementById(link.hash.slice(1)), link);
    link.addEventListener("click", () => { if (narrow.matches) contents.open = false; });
  }
  const mark = () => {
    let current = null;
    for (const [head, link] of links) {
      link.removeAttribute("aria-current");
      if (!current || head.getBoundingClientRect().top < 120) current = link;
    }
    current?.setAttribute("aria-current", "true");
  };
  let waits = false;
  window.addEventListener("scroll", () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => { waits = false; mark(); });
  }, { passive: true });
  mark();
}

// Where the clipboard is closed to a file, the old command still copies what is selected.
async function copyText(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    const range = document.createRange();
    range.selectNodeContents(code);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  }
}

function makeCopies() {
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copyText(button.closest("figure").querySelector("code"));
      button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 2500);
    });
  }
}

function makePrint() {
  let opened = [];
  window.addEventListener("beforeprint", () => {
    const folds = [...document.querySelectorAll("main details:not([open])")];
    opened = folds.filter((fold) => !fold.closest('[aria-labelledby="s-technical"]'));
    for (const fold of opened) fold.open = true;
  });
  window.addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });
}

document.body.classList.add("live");
makeContents();
makeCopies();
makePrint();
