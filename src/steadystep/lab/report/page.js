"use strict";
// Draw the figures, and redraw their text and grid in the colours of the page when the colour scheme changes.
(() => {
  document.documentElement.classList.add("scripted");
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const pointer = matchMedia("(hover: hover)").matches;

  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const update = {
      "font.color": color("--ink"),
      "hoverlabel.bgcolor": color("--panel"),
      "hoverlabel.bordercolor": color("--line"),
      "hoverlabel.font.color": color("--ink"),
      "modebar.color": color("--soft"),
      "modebar.activecolor": color("--ink"),
    };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      update[axis + ".gridcolor"] = color("--grid");
    }
    return update;
  }

  const config = {
    responsive: true,
    displaylogo: false,
    // On a touch screen, dragging a figure scrolls the page.
    displayModeBar: pointer ? "hover" : false,
    // The buttons are listed explicitly, because the default bar has a button that uploads the figure.
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    showSendToCloud: false,
    plotlyServerURL: "",
  };

  async function draw({ id, data, layout }) {
    const place = document.getElementById(id);
    await Plotly.newPlot(place, data, { ...layout, dragmode: pointer ? "zoom" : false }, config);
    await Plotly.relayout(place, themed(layout));
  }

  const recolor = () => plots.forEach(({ id, layout }) => Plotly.relayout(id, themed(layout)));
  const resize = () => plots.forEach(({ id }) => Plotly.Plots.resize(id));

  plots.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
  matchMedia("print").addEventListener("change", () => { recolor(); resize(); });
})();
