"use strict";
// Draws the figures from the page's data in the colours of its style sheet, and redraws them when the colours change.
(() => {
  const { figures, excerpts } = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const places = [...document.querySelectorAll(".plot")];
  const hidden = new Map(places.map((place) => [place, new Set()]));
  // Size of a figure on A4 paper within its margins, in CSS pixels.
  const PAPER_WIDTH = 640, PAPER_HEIGHT = 250;

  // "@s1/0.2" is the style sheet's --s1 at an opacity of 0.2.
  function paint(name) {
    const [token, opacity] = name.slice(1).split("/");
    const value = getComputedStyle(root).getPropertyValue(`--${token}`).trim();
    if (opacity === undefined) return value;
    const part = (start) => parseInt(value.slice(start, start + 2), 16);
    return `rgba(${part(1)},${part(3)},${part(5)},${opacity})`;
  }

  // A copy with names of colours replaced by colours. Only keys that end in "color" are replaced, never texts.
  function painted(value, key = "") {
    if (Array.isArray(value)) return value.map((item) => painted(item));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, painted(item, name)]));
    }
    return typeof value === "string" && key.endsWith("color") && value.startsWith("@") ? paint(value) : value;
  }

  // Adds the two texts of a pair to its label; texts are stored once for all figures.
  function labelled(trace) {
    if (!trace.customdata) return trace;
    const hovertext = trace.hovertext.map((text, place) => {
      const [first, second] = trace.customdata[place];
      return `${text}<br><br>${excerpts[first].label}<br><br>${excerpts[second].label}`;
    });
    return { ...trace, hovertext };
  }

  function axis(found) {
    const colours = { gridcolor: "@grid", linecolor: "@line", tickcolor: "@line", color: "@muted" };
    return { ...colours, showline: true, ticks: "outside", ticklen: 4, ...found };
  }

  function themed(layout, width) {
    const style = getComputedStyle(document.body);
    const narrow = (width ?? window.innerWidth) <= 640;
    return painted({
      ...layout,
      xaxis: axis({ ...(narrow ? { nticks: 6 } : {}), ...layout.xaxis }),
      yaxis: axis(layout.yaxis),
      font: { family: style.fontFamily, size: narrow ? 11 : 12.5, color: "@ink" },
      // Room for a title and six digits. Automatic margins make plotly redraw repeatedly.
      margin: { l: narrow ? 56 : 64, r: 12, t: 10, b: 46 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      hovermode: "closest",
      hoverlabel: { bgcolor: "@raised", bordercolor: "@muted", font: { family: style.fontFamily, color: "@ink", size: narrow ? 10.5 : 12 }, align: "left" },
      showlegend: false,
      dragmode: false,
    });
  }

  function draw(place, width) {
    const { data, layout } = figures[place.dataset.figure];
    const shown = data.map((trace) => ({
      ...painted(labelled(trace)),
      visible: !hidden.get(place).has(trace.legendgroup),
    }));
    const size = width ? { width, height: PAPER_HEIGHT } : { autosize: true };
    return Plotly.react(place, shown, { ...themed(layout, width), ...size }, { displayModeBar: false, responsive: !width });
  }

  const drawAll = (width) => places.forEach((place) => draw(place, width));

  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    made.dir = "auto";
    return made;
  }

  // Shows the texts of a pair in full below the figure, also for screen readers.
  function readOut(place, { points: [point] }) {
    const readout = place.parentElement.querySelector(".readout");
    if (!readout || !point.customdata) return;
    const list = document.createElement("dl");
    for (const index of point.customdata) {
      const side = document.createElement("div");
      side.append(element("dt", excerpts[index].id), element("dd", excerpts[index].text));
      list.append(side);
    }
    const name = place.parentElement.querySelector(`[data-group="${point.data.legendgroup}"] bdi`).textContent;
    const said = `${name}: d_mu ${point.x.toPrecision(3)}, d_sigma ${point.y.toPrecision(3)}, SOCM `;
    readout.replaceChildren(element("p", said + ((1 - point.x) * point.y).toPrecision(3)), list);
  }

  for (const place of places) {
    for (const button of place.parentElement.querySelectorAll(".legend button")) {
      const { group } = button.dataset;
      if (button.getAttribute("aria-pressed") === "false") hidden.get(place).add(group);
      button.addEventListener("click", () => {
        const out = hidden.get(place);
        out.has(group) ? out.delete(group) : out.add(group);
        button.setAttribute("aria-pressed", String(!out.has(group)));
        draw(place);
      });
    }
    draw(place);
    place.on("plotly_hover", (event) => readOut(place, event));
    place.on("plotly_click", (event) => readOut(place, event));
  }

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());

  // Print has light colours and its own width. Folded tables are not printed.
  window.addEventListener("beforeprint", () => {
    root.dataset.print = "";
    drawAll(PAPER_WIDTH);
  });
  window.addEventListener("afterprint", () => {
    delete root.dataset.print;
    drawAll();
  });
})();
