(() => {
  document.documentElement.classList.add("js");
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const places = [...document.querySelectorAll(".plot")];
  const drawn = new Set();
  const hidden = new Set();
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function paint(trace, colors) {
    const painted = {...trace, visible: !hidden.has(trace.meta)};
    for (const part of ["line", "marker"]) {
      if (trace[part] && colors[trace[part].color]) painted[part] = {...trace[part], color: colors[trace[part].color]};
    }
    return painted;
  }

  function draw(place) {
    const figure = figures[place.dataset.figure];
    const colors = {ink: color("--ink"), soft: color("--soft")};
    const axis = {
      gridcolor: color("--grid"), linecolor: color("--line"), zeroline: false, automargin: true, fixedrange: true,
      minexponent: 5, separatethousands: true,
    };
    const dressed = (own) => ({...axis, ...own, title: {...(own || {}).title, standoff: 8}});
    const layout = {
      ...figure.layout,
      xaxis: dressed(figure.layout.xaxis), yaxis: dressed(figure.layout.yaxis),
      font: {color: colors.soft, size: 12, family: "system-ui, sans-serif"},
      margin: {l: 12, r: 14, t: 10, b: 12}, showlegend: false, hovermode: "closest",
      hoverlabel: {namelength: 40}, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    };
    drawn.add(place);
    Plotly.react(place, figure.data.map((trace) => paint(trace, colors)), layout, {responsive: true, displayModeBar: false});
  }

  const redraw = () => drawn.forEach(draw);

  // a page with many tables draws what is looked at
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
  }, {rootMargin: "400px"});
  places.forEach((place) => watcher.observe(place));
  addEventListener("beforeprint", () => places.forEach(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  document.querySelectorAll(".chip").forEach((chip) => chip.addEventListener("click", () => {
    const model = Number(chip.dataset.model);
    const show = hidden.delete(model);
    if (!show) hidden.add(model);
    chip.setAttribute("aria-pressed", String(show));
    document.querySelectorAll(`.card[data-model="${model}"]`).forEach((card) => { card.hidden = !show; });
    redraw();
  }));

  function select(tab) {
    for (const other of tab.parentElement.children) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
    }
  }
  document.querySelectorAll("[role=tablist]").forEach((list) => {
    const tabs = [...list.children];
    select(tabs[0]);
    tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => select(tab));
      tab.addEventListener("keydown", (event) => {
        const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
        if (!step) return;
        const next = tabs[(i + step + tabs.length) % tabs.length];
        select(next);
        next.focus();
      });
    });
  });

  // a link of the bar leads to the section of the table that is shown
  document.querySelectorAll(".bar nav a").forEach((link) => link.addEventListener("click", (event) => {
    const shown = [...document.querySelectorAll(`[data-section="${link.dataset.to}"]`)].find((s) => s.offsetParent);
    if (!shown) return;
    event.preventDefault();
    shown.scrollIntoView({behavior: "smooth"});
  }));
})();
