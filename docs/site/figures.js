"use strict";
// Draw the figures of a page in the colours of its scheme, and update the colours when the scheme is switched.
(() => {
  const pointer = matchMedia("(hover: hover)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    // On a touch screen, dragging on a figure scrolls the page.
    displayModeBar: pointer ? "hover" : false,
    // The buttons are listed because the default bar has a button that uploads the figure.
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    showSendToCloud: false,
    plotlyServerURL: "",
  };

  function colors(layout) {
    const style = getComputedStyle(document.body);
    const color = (name) => style.getPropertyValue(name).trim();
    const update = {
      "font.color": color("--md-typeset-color"),
      "hoverlabel.bgcolor": color("--md-default-bg-color"),
      "hoverlabel.font.color": color("--md-typeset-color"),
      "modebar.color": color("--open"),
      "modebar.activecolor": color("--md-typeset-color"),
    };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      update[axis + ".gridcolor"] = color("--grid");
    }
    return update;
  }

  async function draw(place) {
    const { data, layout } = JSON.parse(place.nextElementSibling.textContent);
    await Plotly.newPlot(place, data, { ...layout, dragmode: pointer ? "zoom" : false }, config);
    const recolor = () => Plotly.relayout(place, colors(layout));
    await recolor();
    new MutationObserver(recolor).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
  }

  document.querySelectorAll(".plot").forEach(draw);
})();
