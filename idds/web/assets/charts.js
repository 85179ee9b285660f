// Charts of the series that the API gives as JSON. Each has a table beside it, so that they are hidden from readers.
"use strict";

(() => {
  const UNITS = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
  const HEIGHT = 240;
  const drawn = new Map();

  function size(amount) {
    if (amount === null || amount === undefined) return "–";
    let step = 0;
    while (Math.abs(amount) >= 999.5 && step < UNITS.length - 1) {
      amount /= 1000;
      step += 1;
    }
    return `${step ? Number(amount.toPrecision(3)) : Math.round(amount)} ${UNITS[step]}`;
  }

  const rate = (amount) => (amount === null || amount === undefined ? "–" : `${size(amount)}/s`);
  const number = (amount) => (amount === null || amount === undefined ? "–" : Number(amount).toLocaleString("en"));

  function span(microseconds) {
    const seconds = microseconds / 1e6;
    for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= unit * 2) return `${Number((seconds / unit).toPrecision(2))} ${name}`;
    }
    return seconds >= 1 ? `${Number(seconds.toPrecision(2))} s` : `${Math.round(seconds * 1000)} ms`;
  }

  // As in the tables: UTC, with as much of it as tells two apart.
  function moment(at, step) {
    const text = new Date(at * 1e3).toISOString();
    return step >= 86400 ? text.slice(5, 10) : step >= 60 ? text.slice(11, 16) : text.slice(11, 19);
  }

  const times = (series) => series.at.map((at) => at / 1e6);

  // What a chart shows of what the API tells: the data, and a line for each of its rows but the first.
  const CHARTS = {
    files: (series) => ({
      data: [times(series), series.staged, series.processed, series.released, series.failed],
      lines: [
        { label: "staged", color: "--available" },
        { label: "processed", color: "--done" },
        { label: "released", color: "--released", dash: [6, 4] },
        { label: "failed", color: "--bad" },
      ],
      words: number,
    }),
    bytes: (series) => ({
      data: [times(series), series.bytes_on_disk, series.at.map(() => series.window_bytes)],
      lines: [
        { label: "on disk", color: "--available", area: true },
        { label: "window", color: "--warn", dash: [6, 4] },
      ],
      words: size,
    }),
    rate: (series) => ({
      data: [times(series), series.bytes_per_s],
      lines: [{ label: "landed", color: "--available", area: true }],
      words: rate,
    }),
    took: (series) => ({
      data: [series.took.map((_, place) => place), series.took.map((each) => each.files)],
      lines: [{ label: "files", color: "--available", bars: true }],
      words: number,
      places: series.took.map((each) => (each.up_to === null ? "longer" : `< ${span(each.up_to)}`)),
    }),
    landings: (found) => ({
      data: [times(found), ...found.sources.map((each) => each.bytes_per_s)],
      lines: found.sources.map((each, place) => ({
        label: each.source || "not known",
        color: ["--available", "--warn", "--done", "--leased", "--bad"][place % 5],
      })),
      words: rate,
    }),
  };

  function color(name) {
    // Asked of an element: the variable itself holds both schemes.
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function faded(found) {
    return found.replace(/^rgb\((.*)\)$/, "rgba($1, 0.18)");
  }

  function options(chart, width) {
    const ink = color("--faint");
    const grid = { stroke: color("--line"), width: 1 };
    const axis = { stroke: ink, grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const series = chart.lines.map((line) => {
      const stroke = color(line.color);
      return {
        label: line.label,
        stroke,
        width: 2,
        dash: line.dash,
        points: { show: false },
        fill: line.area || line.bars ? faded(stroke) : undefined,
        paths: line.bars ? uPlot.paths.bars({ size: [0.8, 80] }) : uPlot.paths.stepped({ align: -1 }),
        value: (_, value) => chart.words(value),
      };
    });
    const places = chart.places;
    const clock = { ...axis, values: (_, found, __, ___, step) => found.map((at) => moment(at, step)), space: 80 };
    const along = places
      ? { ...axis, splits: () => places.map((_, n) => n), values: (_, found) => found.map((n) => places[n] ?? ""), grid: { show: false } }
      : clock;
    return {
      width,
      height: HEIGHT,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC"),
      cursor: { drag: { x: false, y: false } },
      scales: {
        x: places ? { time: false, range: () => [-0.6, places.length - 0.4] } : { time: true },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [along, { ...axis, size: 68, values: (_, found) => found.map(chart.words) }],
      series: [{ label: places ? "took" : "until", value: (_, at) => (at === null ? "–" : places ? places[at] : moment(at, 1)) }, ...series],
    };
  }

  function draw(figure, chart) {
    const plot = figure.querySelector(".plot");
    const before = drawn.get(figure);
    const shape = JSON.stringify([chart.lines, chart.places]);
    if (!chart.data[0].length || chart.data.length < 2) {
      return;
    }
    if (before && before.shape === shape) {
      before.plot.setData(chart.data);
      return;
    }
    if (before) before.plot.destroy();
    drawn.set(figure, { shape, chart, plot: new uPlot(options(chart, plot.clientWidth), chart.data, plot) });
  }

  async function tell(at) {
    const response = await fetch(at, { headers: { Accept: "application/json" } });
    return response.ok ? response.json() : null;
  }

  async function look() {
    for (const box of document.querySelectorAll("[data-series], [data-from]")) {
      const found = await tell(box.dataset.series || box.dataset.from);
      if (!found) continue;
      const figures = box.dataset.chart ? [box] : box.querySelectorAll("[data-chart]");
      for (const figure of figures) draw(figure, CHARTS[figure.dataset.chart](found));
    }
    document.body.dataset.drawn = String(Number(document.body.dataset.drawn || 0) + 1);
  }

  let busy = false;
  let again = false;
  async function follow() {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) {
        again = false;
        await look();
      }
    } catch (error) {
      // The service is away: the next event that comes has it drawn again.
    } finally {
      busy = false;
    }
  }

  document.body.addEventListener("changed", follow);
  new ResizeObserver(() => {
    for (const [figure, { plot }] of drawn) {
      plot.setSize({ width: figure.querySelector(".plot").clientWidth, height: HEIGHT });
    }
  }).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const { plot } of drawn.values()) plot.destroy();
    drawn.clear();
    follow();
  });
  follow();
})();
