// The charts of the usage page, drawn by uPlot in the colours of the page as it is now.

import uPlot from "../../vendor/uplot/uplot.js";

const source = document.getElementById("usage-data");
const number = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(document.documentElement.lang, { notation: "compact" });
const weekday = new Intl.DateTimeFormat(document.documentElement.lang, {
  weekday: "short", month: "short", day: "numeric", timeZone: "UTC",
});
const shortDay = new Intl.DateTimeFormat(document.documentElement.lang, {
  month: "short", day: "numeric", timeZone: "UTC",
});

// The tokens are light-dark() pairs; a probe says what they are now.
function resolved(token) {
  const probe = document.createElement("i");
  probe.style.color = `var(${token})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

function charts(data) {
  const start = Date.parse(`${data.start}T00:00:00Z`) / 1000;
  const x = data.tts_jobs.map((_, day) => start + day * 86_400);
  const sum = (...columns) => x.map((_, day) => columns.reduce((total, column) => total + column[day], 0));
  const minutes = data.stt_seconds.map((seconds) => seconds / 60);
  const said = (chart, text) => chart.closest("figure").querySelector("[data-readout]").replaceChildren(text);
  return {
    jobs: {
      // Stacked: what is drawn first is the highest, and the others cover its lower part.
      columns: [x, sum(data.tts_jobs, data.stt_jobs, data.failed_jobs), sum(data.tts_jobs, data.stt_jobs), data.tts_jobs],
      fills: ["--bad", "--accent-tint", "--accent"],
      words: (day) => [["out", data.tts_jobs], ["in", data.stt_jobs], ["failed", data.failed_jobs]]
        .map(([word, column]) => `${number.format(column[day])} ${word}`).join(", "),
      said,
    },
    characters: {
      columns: [x, data.tts_characters], fills: ["--accent"], said,
      words: (day) => number.format(data.tts_characters[day]),
    },
    seconds: {
      columns: [x, minutes], fills: ["--accent-tint"], said,
      words: (day) => `${number.format(minutes[day])} min`,
    },
  };
}

function options(box, chart) {
  const quiet = resolved("--ink-quiet");
  const line = resolved("--line");
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: quiet, font, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  return {
    width: box.clientWidth,
    height: box.clientHeight,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { range: (_, least, most) => [least - 43_200, most + 43_200] }, // half a day: bars have a width
      y: { range: (_, __, most) => [0, Math.max(most * 1.05, 1)] },
    },
    axes: [
      {
        ...axis, grid: { show: false }, size: 24, space: 64,
        values: (_, splits) => splits.map((second) => shortDay.format(second * 1000)), incrs: [1, 2, 7, 14, 28].map((days) => days * 86_400),
      },
      { ...axis, size: 44, space: 40, values: (_, splits) => splits.map((value) => compact.format(value)) },
    ],
    series: [
      {},
      ...chart.fills.map((token) => ({
        fill: resolved(token), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.7, 40] }),
      })),
    ],
    hooks: {
      setCursor: [
        (plot) => {
          const day = plot.cursor.idx;
          chart.said(box, day == null ? "" : `${weekday.format(chart.columns[0][day] * 1000)}: ${chart.words(day)}`);
        },
      ],
    },
  };
}

function draw(drawn, all) {
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const box = figure.querySelector("[data-plot]");
    const chart = all[figure.dataset.chart];
    drawn.get(box)?.destroy();
    drawn.set(box, new uPlot(options(box, chart), chart.columns, box));
  }
}

if (source) {
  const all = charts(JSON.parse(source.textContent));
  const drawn = new Map();
  const again = () => draw(drawn, all);
  again();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  new ResizeObserver(() => {
    for (const [box, plot] of drawn) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
  }).observe(document.querySelector("[data-plot]"));
}
