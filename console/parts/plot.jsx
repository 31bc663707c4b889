// A plot of the last hour, a bar a minute.
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { count } from "../numbers.js";
import { useStore } from "../store.js";
import { colorOf, theme } from "../theme.js";
import { shortClockOf } from "../time.jsx";

const HEIGHT = 118;

/**
 * `layers` are the bars of a minute, drawn over each other from the back to the front:
 * `{label, color, value}` with the name of a property of the style sheet and a function of a minute.
 */
export function MinutePlot({ title, unit, minutes, layers }) {
  const place = useRef(null);
  const plot = useRef(null);
  const [hovered, setHovered] = useState(null);
  const { isDark } = useStore(theme);
  useEffect(() => {
    const element = place.current;
    plot.current = new uPlot(
      optionsOf(element.clientWidth, layers, setHovered),
      dataOf(minutes, layers),
      element,
    );
    const observer = new ResizeObserver(() => {
      plot.current.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current.destroy();
    };
    // Its colours are read when it is made.
  }, [isDark]);
  useEffect(() => plot.current?.setData(dataOf(minutes, layers)), [minutes]);
  const shown = minutes[hovered ?? minutes.length - 2];
  const when = hovered === null ? "last full minute" : shortClockOf(shown.at * 1000);
  const most = Math.max(0, ...minutes.map(layers[0].value));
  return (
    <figure class="plot">
      <figcaption>
        <h2>{title}</h2>
        <span class="plot-now">
          <strong>{count(layers[0].value(shown))}</strong> {when}
        </span>
      </figcaption>
      <div
        ref={place}
        class="plot-place"
        role="img"
        aria-label={`${title} over the last hour. Last full minute: ${count(layers[0].value(minutes.at(-2)))} ${unit}. Most: ${count(most)}.`}
      />
      {layers.length > 1 && (
        <ul class="legend">
          {layers.slice(1).map(({ label, name, own }) => (
            <li key={label}>
              <span class={`swatch is-${name}`} /> {label} <b>{count(own(shown))}</b>
            </li>
          ))}
        </ul>
      )}
    </figure>
  );
}

const dataOf = (minutes, layers) => [
  minutes.map(({ at }) => at),
  ...layers.map(({ value }) => minutes.map(value)),
];

function optionsOf(width, layers, setHovered) {
  const ink = colorOf("--muted");
  const font = "11px ui-sans-serif, system-ui, sans-serif";
  const bars = uPlot.paths.bars({ size: [0.72, 14], radius: 0.12 });
  return {
    width,
    height: HEIGHT,
    padding: [6, 16, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false, setScale: false } },
    scales: {
      // Half a minute more at both ends, so that their bars are whole.
      x: { range: (_, first, last) => [first - 30, last + 30] },
      y: { range: (_, __, most) => [0, Math.max(4, most * 1.08)] },
    },
    axes: [
      {
        stroke: ink,
        font,
        size: 22,
        gap: 4,
        space: 64,
        grid: { show: false },
        ticks: { show: false },
        values: (_, splits) => splits.map((at) => shortClockOf(at * 1000)),
      },
      {
        stroke: ink,
        font,
        size: 34,
        gap: 4,
        space: 34,
        grid: { stroke: colorOf("--line"), width: 1 },
        ticks: { show: false },
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7],
        values: (_, splits) => splits.map((value) => (value >= 1000 ? `${value / 1000}k` : `${value}`)),
      },
    ],
    series: [
      {},
      ...layers.map(({ label, color }) => ({
        label,
        paths: bars,
        points: { show: false },
        fill: colorOf(color),
        width: 0,
      })),
    ],
    hooks: { setCursor: [({ cursor }) => setHovered(cursor.idx ?? null)] },
  };
}
