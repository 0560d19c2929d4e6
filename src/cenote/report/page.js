"use strict";
// Shows the title of the nearest point of a figure, and the two texts of a pair; hides and shows series.
(() => {
  const excerpts = JSON.parse(document.getElementById("data").textContent);
  // A pointer farther from all points than this, in CSS pixels, shows nothing.
  const REACH = 40;

  function element(name, text, className) {
    const made = document.createElement(name);
    made.textContent = text;
    made.dir = "auto";
    if (className) made.className = className;
    return made;
  }

  // The first line is the name of a series, or of a text.
  function lines(text) {
    const [first, ...rest] = text.split("\n");
    return [element("b", first), ...rest.map((line) => element("span", line))];
  }

  function nameOf(figure, group) {
    return figure.querySelector(`[data-group="${group}"] bdi`).textContent;
  }

  function pairOf(figure, point) {
    const [first, second, dMu, dSigma, socm] = point.pair;
    const name = nameOf(figure, point.group);
    return { texts: [excerpts[first], excerpts[second]], said: `${name}: SOCM ${socm}, d_mu ${dMu}, d_sigma ${dSigma}` };
  }

  // Shows the texts of a pair in full below the figure, also for screen readers.
  function readOut(figure, point) {
    const { texts, said } = pairOf(figure, point);
    const list = document.createElement("dl");
    for (const { id, text } of texts) {
      const side = document.createElement("div");
      side.append(element("dt", id), element("dd", text));
      list.append(side);
    }
    figure.querySelector(".readout").replaceChildren(element("p", said), list);
  }

  // The points of a figure. Their titles leave the page, so that browsers do not show them a second time.
  function pointsOf(figure) {
    return [...figure.querySelectorAll("[data-group] > use:not(.line)")].map((mark) => {
      const title = mark.querySelector("title");
      const found = {
        mark,
        group: mark.parentElement.dataset.group,
        x: mark.x.baseVal.valueInSpecifiedUnits,
        y: mark.y.baseVal.valueInSpecifiedUnits,
        text: title?.textContent,
        pair: mark.dataset.pair?.split(" "),
      };
      title?.remove();
      return found;
    });
  }

  function enliven(figure) {
    const plot = figure.querySelector(".plot");
    const area = plot.querySelector(".area");
    const points = pointsOf(figure);
    const hidden = new Set();
    const tip = element("div", "", "tip");
    tip.hidden = true;
    plot.append(tip);
    let shown = null;

    function nearest(event) {
      const box = area.getBoundingClientRect();
      const [atX, atY] = [event.clientX - box.left, event.clientY - box.top];
      let best = null, least = REACH ** 2;
      for (const point of points) {
        const far = ((point.x / 100) * box.width - atX) ** 2 + ((point.y / 100) * box.height - atY) ** 2;
        if (far < least && !hidden.has(point.group)) [best, least] = [point, far];
      }
      return best;
    }

    function show(point) {
      if (point === shown) return;
      shown?.mark.classList.remove("on");
      shown = point;
      tip.hidden = point === null;
      if (point === null) return;
      point.mark.classList.add("on");
      if (point.pair) {
        const { texts, said } = pairOf(figure, point);
        tip.replaceChildren(...lines(said), ...texts.flatMap(({ id, text }) => lines(`${id}\n${text}`)));
        readOut(figure, point);
      } else {
        tip.replaceChildren(...lines(point.text));
      }
      // The tip stays within the plot: on the other side of a point in its right half, and above or below it.
      const [box, ground] = [area.getBoundingClientRect(), plot.getBoundingClientRect()];
      const left = box.left - ground.left + (point.x / 100) * box.width;
      const top = box.top - ground.top + (point.y / 100) * box.height;
      const side = point.x > 50 ? left - tip.offsetWidth - 12 : left + 12;
      tip.style.left = `${Math.max(0, Math.min(side, ground.width - tip.offsetWidth))}px`;
      tip.style.top = point.y > 50 ? `${top - tip.offsetHeight - 12}px` : `${top + 12}px`;
    }

    for (const button of figure.querySelectorAll(".legend button")) {
      const { group } = button.dataset;
      if (button.getAttribute("aria-pressed") === "false") hidden.add(group);
      button.addEventListener("click", () => {
        const off = !hidden.has(group);
        off ? hidden.add(group) : hidden.delete(group);
        button.setAttribute("aria-pressed", String(!off));
        for (const part of area.querySelectorAll(`g[data-group="${group}"]`)) part.classList.toggle("off", off);
        show(null);
      });
    }
    plot.addEventListener("pointermove", (event) => show(nearest(event)));
    plot.addEventListener("pointerdown", (event) => show(nearest(event)));
    plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(null));
  }

  document.querySelectorAll("figure").forEach(enliven);
})();
