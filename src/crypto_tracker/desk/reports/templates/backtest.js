"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const words = data.words;
  const main = document.getElementById("main");
  const quote = data.quote;

  // ---- words and numbers -------------------------------------------------------------------------
  const none = "–";
  // As the terminal rounds: what lies exactly between two goes to the even digit (65.625 is 65.62).
  const fixed = (value, digits) => {
    const exact = Math.abs(value).toFixed(digits + 40);
    const cut = exact.slice(0, -40).replace(/\.$/, "");
    const between = /^50*$/.test(exact.slice(-40)) && "02468".includes(cut.slice(-1));
    const [front, back] = (between ? cut : Math.abs(value).toFixed(digits)).split(".");
    return (value < 0 ? "-" : "") + front.replace(/\B(?=(\d{3})+$)/g, ",") + (back ? `.${back}` : "");
  };
  const amount = (value, digits = 2) => value === null || value === undefined ? none : fixed(value, digits);
  const whole = (value) => value === null || value === undefined ? none : value.toLocaleString("en-US");
  const signed = (value, digits = 2) => value === null || value === undefined ? none
    : (value < 0 ? "−" : value > 0 ? "+" : "") + amount(Math.abs(value), digits);
  const percent = (value, digits = 2) => value === null || value === undefined ? none : `${amount(100 * value, digits)} %`;
  const change = (value, digits = 2) => value === null || value === undefined ? none : `${signed(100 * value, digits)} %`;
  const hours = (value) => value === null || value === undefined ? none
    : value >= 48 ? `${amount(value / 24, 1)} d` : `${amount(value, 1)} h`;
  const days = (value) => value === null || value === undefined ? none : `${amount(value, 1)} d`;
  const ratio = (value) => value === null || value === undefined ? none : amount(value).replace("-", "−");
  const price = (value) => value === null || value === undefined ? none
    : value.toLocaleString("en-US", { maximumSignificantDigits: 8 });
  const iso = (ms) => ms === null || ms === undefined ? none : new Date(ms).toISOString().slice(0, 16).replace("T", " ");
  const say = (code) => code.replaceAll("_", " ");
  const tone = (value) => value > 0 ? "gain" : value < 0 ? "loss" : "";

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === "") continue;
      if (key === "onclick") made.addEventListener("click", value);
      else made.setAttribute(key, value);
    }
    for (const child of children.flat()) if (child !== null && child !== undefined) made.append(child);
    return made;
  };
  const card = (title, ...children) => element("section", {}, title ? element("h2", {}, title) : null, ...children);
  const label = (key) => words[key] ? words[key][0] : say(key);
  const meaning = (key) => words[key] ? words[key][1] : undefined;

  // What is wider than its card scrolls within it, and says so.
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const inner = target.querySelector(".scroll");
      target.classList.toggle("wider", inner.scrollWidth > inner.clientWidth + 1);
    }
  });
  const scrolling = (made) => {
    const frame = element("div", { class: "frame" },
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": made.caption ? made.caption.textContent : "Table" }, made),
      element("p", { class: "hint", "aria-hidden": "true" }, "more to the right \u2192"));
    const inner = frame.firstChild;
    inner.addEventListener("scroll", () => frame.classList.toggle("ended", inner.scrollLeft + inner.clientWidth >= inner.scrollWidth - 2), { passive: true });
    watch.observe(frame);
    return frame;
  };

  // ---- tables ------------------------------------------------------------------------------------
  // A column: title, value (what sorts), show (what is read), sign (coloured), text (left-aligned), key.
  const table = (caption, columns, rows, sortable = false) => {
    const body = element("tbody");
    const head = element("tr");
    const made = element("table", {}, caption ? element("caption", {}, caption) : null, element("thead", {}, head), body);
    const fill = (list) => body.replaceChildren(...list.map((row) => element("tr", {}, columns.map((column) => {
      const value = column.value(row);
      const kind = [column.text ? "text" : "", column.sign ? tone(value) : ""].join(" ").trim();
      return element("td", { class: kind }, column.show ? column.show(value) : value === null ? none : String(value));
    }))));
    for (const column of columns) {
      const title = column.title ?? label(column.key);
      const cell = element("th", { scope: "col", class: column.text ? "text" : "", title: meaning(column.key) });
      if (sortable) {
        cell.append(element("button", { type: "button", onclick: () => {
          const down = cell.getAttribute("aria-sort") !== "descending";
          for (const other of head.children) other.removeAttribute("aria-sort");
          cell.setAttribute("aria-sort", down ? "descending" : "ascending");
          const order = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1 : a < b ? -1 : 1;
          fill([...rows].sort((a, b) => (down ? -1 : 1) * order(column.value(a), column.value(b))));
        } }, title));
      } else cell.append(title);
      head.append(cell);
    }
    fill(rows);
    return scrolling(made);
  };

  const figureRows = (rows, columns) => {
    const body = element("tbody");
    for (const [key, ...values] of rows) {
      body.append(element("tr", {}, element("th", { scope: "row", title: meaning(key) }, label(key)),
        values.map((value) => {
          const [text, sign] = Array.isArray(value) ? value : [value, 0];
          return element("td", { class: tone(sign) }, text);
        })));
    }
    const head = columns ? element("thead", {}, element("tr", {}, element("td"), columns.map((name) => element("th", { scope: "col" }, name)))) : null;
    return element("div", { class: "figures" }, element("table", {}, head, body));
  };

  // ---- colours -----------------------------------------------------------------------------------
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const plots = [];
  const layout = (more) => {
    const axis = { gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("line"), automargin: true };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 8, r: 8, t: 8, b: 8 },
      font: { family: "system-ui, sans-serif", size: 12, color: colour("dim") },
      hoverlabel: { font: { family: "system-ui, sans-serif" }, align: "left" },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, showlegend: false, hovermode: "x unified",
      xaxis: { ...axis }, yaxis: { ...axis },
    };
    const made = { ...base, ...more };
    for (const key of Object.keys(more)) if (/^[xy]axis/.test(key)) made[key] = { ...axis, ...more[key] };
    return made;
  };
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const plot = (height, name, draw) => {
    const place = element("div", { class: "plot", style: `height:${height}px`, role: "img", "aria-label": name });
    plots.push(() => { const [traces, shape] = draw(); Plotly.react(place, traces, layout(shape), config); });
    return place;
  };

  // ---- head --------------------------------------------------------------------------------------
  const { about, figures, marked, closed, curve, costs } = data;
  const hold = data.buy_and_hold ? data.buy_and_hold.performance : null;
  const named = about.symbols.slice(0, 8).join(", ") + (about.symbols.length > 8 ? ` and ${about.symbols.length - 8} more` : "");
  document.getElementById("head").append(
    element("h1", {}, `Backtest ${iso(about.start).slice(0, 10)} to ${iso(about.end).slice(0, 10)}`),
    element("p", { class: "dim" }, `${named} · ${about.strategies.join(", ")} · ${about.base} bars · ${about.intrabar} order within a bar · times in UTC`),
    ...about.notes.map((note) => element("p", { class: "note" }, note)),
  );

  const tile = (key, name, value, sign, more) => element("div", { class: "tile" },
    element("div", { class: "name", title: meaning(key) }, name), element("div", { class: `value ${tone(sign)}` }, value),
    element("div", { class: "more" }, more));
  const trades = data.trades_closed;
  main.append(element("div", { class: "tiles" },
    tile("return_net", "Return, marked", change(marked.return_net), marked.return_net, `${signed(marked.pnl_quote)} ${quote}`),
    tile("return_net", "Return, closed trades", change(closed.return_net), closed.return_net, `${signed(closed.pnl_quote)} ${quote}`),
    hold ? tile("return_net", "Buy and hold", change(hold.return_net), hold.return_net, `drawdown ${percent(hold.drawdown.depth)}`) : null,
    tile("depth", "Maximum drawdown", percent(marked.drawdown.depth), -marked.drawdown.depth, `for ${days(marked.drawdown.days)}`),
    tile("sharpe", "Sharpe", ratio(marked.sharpe), 0, data.deflated && data.deflated.trials > 1 && data.deflated.deflated_sharpe !== null
      ? `deflated ${percent(data.deflated.deflated_sharpe, 0)}, ${whole(data.deflated.trials)} configurations tried` : `P(> 0) ${percent(marked.probabilistic_sharpe, 0)}`),
    tile("win_rate", "Win rate", percent(trades.win_rate), 0, `${whole(trades.n_trades)} closed, ${whole(figures.n_open)} open`),
    tile("profit_factor", "Profit factor", ratio(trades.profit_factor), 0, `${signed(trades.expectancy_quote)} ${quote} a trade`),
    tile("share_of_turnover", "Costs", amount(costs.total_quote), 0, `fees ${amount(costs.fees_quote)}, slippage ${amount(costs.slippage_quote)}`),
  ));

  // ---- equity, drawdown, exposure ----------------------------------------------------------------
  const bandColour = { panic: "panic", caution: "caution", euphoria: "euphoria", day_loss: "halt", drawdown: "halt", losing_streak: "hold", volatility_high: "hold" };
  const bandWord = { panic: "PANIC", caution: "CAUTION", euphoria: "EUPHORIA", day_loss: "day's loss", drawdown: "drawdown halt", losing_streak: "losing streak", volatility_high: "volatility" };
  const lanes = [...new Set(data.bands.map((band) => band.kind))];
  const moments = curve.time_ms.map((ms) => new Date(ms));
  const capital = marked.equity_final - marked.pnl_quote;
  const reach = (list) => Math.max(...list.filter((value) => value !== null).map((value) => Math.abs(value / capital - 1)));
  const apart = hold ? reach(curve.buy_and_hold) / Math.max(reach(curve.marked), 1e-9) : 0;
  const FAR = 3; // times as far from the start: on one axis the strategy would be a flat line
  let besides = hold !== null;
  const equityPlot = plot(apart > FAR ? 680 : 560, "Equity, drawdown and exposure over time, with protections", () => {
    // One axis for all, in per cent of the capital, so that what is drawn can be compared.
    const line = (name, y, more) => ({ type: "scatter", mode: "lines", name, x: moments, y: y.map((value) => value === null ? null : value / capital - 1),
      text: y.map((value) => `${amount(value)} ${quote}`), hovertemplate: `%{y:+.2%}  %{text}<extra>${name}</extra>`, ...more });
    const traces = [];
    const below = besides && apart > FAR;
    if (besides) traces.push(line("buy and hold", curve.buy_and_hold, { line: { color: colour("hold"), width: 1 }, legendrank: 1003, yaxis: below ? "y5" : "y" }));
    if (below) traces.push(line("strategy", curve.marked, { line: { color: colour("mark"), width: 2 }, yaxis: "y5", showlegend: false, hoverinfo: "skip", hovertemplate: null }));
    traces.push(line("closed trades", curve.closed, { line: { color: colour("closed"), width: 1.4, dash: "dot", shape: "hv" }, legendrank: 1002 }),
      line("strategy, marked", curve.marked, { line: { color: colour("mark"), width: 2.2 }, legendrank: 1001 }));
    traces.push({ type: "scatter", mode: "lines", name: "below the peak", showlegend: false, x: moments, y: curve.underwater, yaxis: "y2", line: { color: colour("loss"), width: 1 }, fill: "tozeroy" });
    traces.push({ type: "scatter", mode: "lines", name: "in positions", showlegend: false, x: moments, y: curve.exposure, yaxis: "y3", line: { color: colour("closed"), width: 1 }, fill: "tozeroy" });
    const shapes = data.bands.filter((band) => band.kind !== "losing_streak" && band.kind !== "volatility_high").slice(0, 1500).map((band) => ({
      type: "rect", xref: "x", yref: "y domain", x0: new Date(band.start_ms), x1: new Date(band.end_ms), y0: 0, y1: 1,
      fillcolor: colour(bandColour[band.kind]), opacity: 0.2, line: { width: 0 }, layer: "below" }));
    // A lane each under the equity, so that what is short or overlaps is seen as well.
    lanes.forEach((kind, lane) => {
      const x = [], y = [], text = [];
      for (const band of data.bands) if (band.kind === kind) {
        x.push(new Date(band.start_ms), new Date(band.end_ms), null); y.push(lanes.length - lane, lanes.length - lane, null);
        const what = `${bandWord[kind]}${band.strategy ? ` ${band.strategy}` : ""} ${iso(band.start_ms)} to ${iso(band.end_ms)}`;
        text.push(what, what, "");
      }
      // A marker at each end keeps a band of one minute visible.
      traces.push({ type: "scatter", mode: "lines+markers", name: bandWord[kind], showlegend: false, x, y, text, hovertemplate: "%{text}<extra></extra>", yaxis: "y4", connectgaps: false,
        line: { color: colour(bandColour[kind]), width: 8 }, marker: { symbol: "line-ns", size: 8, line: { color: colour(bandColour[kind]), width: 2 } } });
    });
    // Where each part begins, from the bottom: exposure, drawdown, lanes, both curves where they lie apart, equity.
    const base = below ? { drawdown: 0.16, lanes: 0.32, strategy: 0.68 } : { drawdown: 0.19, lanes: 0.4, strategy: 0.42 };
    const room = lanes.length ? Math.min((below ? 0.026 : 0.04) * lanes.length, below ? 0.13 : 0.2) : 0;
    if (!below) base.strategy += room;
    return [traces, {
      shapes, showlegend: true, grid: undefined,
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", traceorder: "normal" },
      xaxis: { anchor: "y3", range: [new Date(about.start), new Date(about.end)], hoverformat: "%Y-%m-%d %H:%M" },
      yaxis: { domain: [base.strategy, 1], title: { text: below ? "strategy" : "since the start" }, tickformat: "+.1~%", zeroline: true, zerolinecolor: colour("hold") },
      ...(below ? { yaxis5: { domain: [base.lanes + room + 0.03, base.strategy - 0.03], title: { text: "and held" }, tickformat: "+.0%", zeroline: true, zerolinecolor: colour("hold"), nticks: 6 } } : {}),
      yaxis4: { domain: [base.lanes, base.lanes + Math.max(room, 0.0001)], range: [0.4, lanes.length + 0.6], fixedrange: true, showgrid: false, zeroline: false, tickvals: lanes.map((_, lane) => lanes.length - lane), ticktext: lanes.map((kind) => bandWord[kind]) },
      yaxis2: { domain: [base.drawdown, base.lanes - 0.03], tickformat: ".1%", hoverformat: ".2%", title: { text: "drawdown" }, nticks: 5 },
      yaxis3: { domain: [0, base.drawdown - 0.03], tickformat: ".0%", hoverformat: ".1%", rangemode: "tozero", title: { text: "exposure" }, nticks: 5 },
    }];
  });
  const stood = lanes.map((kind) => `${bandWord[kind]} ${whole(data.bands.filter((band) => band.kind === kind).length)}`).join(", ");
  const drawEquity = plots[plots.length - 1];
  const toggle = element("input", { type: "checkbox", checked: "checked" });
  toggle.addEventListener("change", () => { besides = toggle.checked; drawEquity(); });
  main.append(element("section", {},
    element("div", { class: "bar" }, element("h2", {}, "Equity"), hold ? element("label", { class: "small" }, toggle, " buy and hold beside it") : null),
    equityPlot,
    apart > FAR ? element("p", { class: "small" }, `Buying and holding went ${amount(apart, 0)} times as far from the start as the strategy did. So the strategy has an axis of its own above, and below it both lie on one axis.`) : null,
    element("p", { class: "small dim" },
      "Change of the equity since the start. The thick line counts open positions at their last closes, the dotted one closed trades alone",
      hold ? "; the thin one is the same capital in all symbols, bought at the start and held." : ".",
      stood ? ` The bands are times in which a protection stood: ${stood}.` : " No protection stood in this run.")));

  // ---- figures -----------------------------------------------------------------------------------
  const performanceRows = () => {
    const list = [marked, closed, ...(hold ? [hold] : [])];
    const row = (key, show, sign) => [key, ...list.map((each) => [show(each[key]), sign ? each[key] : 0])];
    const fall = (key, show, name) => [name ?? key, ...list.map((each) => show(each.drawdown[key]))];
    return [row("equity_final", amount), row("pnl_quote", signed, true), row("return_net", change, true), row("return_annual", change, true), row("cagr", change, true),
      row("volatility", percent), row("sharpe", ratio), row("sortino", ratio), row("calmar", ratio), row("omega", ratio), row("sqn", ratio),
      row("probabilistic_sharpe", percent), row("best_day", change, true), row("worst_day", change, true),
      fall("depth", percent), fall("days", days, "drawdown_days"), fall("longest_days", days), fall("underwater_share", percent)];
  };
  const tradeRows = () => {
    const both = [data.trades_closed, data.trades_marked];
    const row = (key, show, sign) => [key, ...both.map((each) => [show(each[key]), sign ? each[key] : 0])];
    return [row("n_trades", whole), row("win_rate", percent),
      ["win_interval", ...both.map((each) => each.win_rate_low === null ? none : `${amount(100 * each.win_rate_low, 1)} to ${percent(each.win_rate_high, 1)}`)],
      row("profit_factor", ratio), row("payoff_ratio", ratio), row("expectancy_quote", signed, true), row("expectancy_ratio", ratio), row("kelly", change, true),
      row("gain_mean_quote", signed, true), row("loss_mean_quote", signed, true), row("return_best", change, true), row("return_worst", change, true),
      row("streak_won", whole), row("streak_lost", whole), row("hold_hours_mean", hours), row("hold_hours_median", hours), row("hold_hours_max", hours)];
  };
  const costRows = () => [["turnover_quote", amount(costs.turnover_quote)], ["fees_quote", amount(costs.fees_quote)], ["slippage_quote", amount(costs.slippage_quote)],
    ["share_of_turnover", percent(costs.share_of_turnover, 3)], ["pnl_before_costs_quote", [signed(costs.pnl_before_costs_quote), costs.pnl_before_costs_quote]],
    ["exposure", percent(figures.exposure)], ["exposure_max", percent(data.exposure_max)], ["time_in_market", percent(data.time_in_market)],
    ["ambiguous_share", percent(figures.ambiguous_share)], ["market_change", [change(figures.market_change), figures.market_change]],
    ...(data.deflated ? [["deflated_sharpe", percent(data.deflated.deflated_sharpe)], ["trials", whole(data.deflated.trials)]] : [])];
  main.append(element("div", { class: "pair" },
    card("Performance", figureRows(performanceRows(), ["marked", "closed", ...(hold ? ["held"] : [])])),
    card("Trades", figureRows(tradeRows(), ["closed", "marked"]))));

  // ---- months, returns, exits --------------------------------------------------------------------
  const months = data.breakdown.month;
  const years = [...new Set(months.map((month) => month.name.slice(0, 4)))];
  const monthNames = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const mostOfMonth = Math.max(0.001, ...months.map((month) => Math.abs(month.return_marked)));
  const monthCell = (month) => {
    const strength = Math.round(45 * Math.abs(month.return_marked) / mostOfMonth);
    const shade = month.return_marked < 0 ? "loss" : "gain";
    return element("div", { class: "month", style: `background: color-mix(in srgb, var(--${shade}) ${strength}%, var(--card)); grid-column-start: ${years.length > 1 ? Number(month.name.slice(5)) : "auto"}`,
      title: `${month.name}: ${change(month.return_marked)} marked, ${signed(month.pnl_closed_quote)} ${quote} closed, ${month.n_trades} trades, drawdown ${percent(month.max_drawdown)}` },
    element("span", { class: "when" }, monthNames[Number(month.name.slice(5)) - 1]), element("b", {}, change(month.return_marked)),
    element("span", { class: "when" }, `${whole(month.n_trades)} ${month.n_trades === 1 ? "trade" : "trades"}`));
  };
  const monthGrid = years.map((year) => element("div", { class: "year" }, element("span", { class: "small dim" }, year),
    element("div", { class: years.length > 1 ? "months whole" : "months" }, months.filter((month) => month.name.startsWith(year)).map(monthCell))));
  const returns = data.trades.map((trade) => trade.return_net);
  const distribution = plot(280, "Distribution of the returns of closed trades", () => [
    [{ type: "histogram", x: returns, nbinsx: 60, marker: { color: colour("gain") }, opacity: 0.85, hovertemplate: "%{x}: %{y} trades<extra></extra>" }],
    { hovermode: "closest", bargap: 0.05, xaxis: { tickformat: ".1%", title: { text: "P&L over invested, after costs" } }, yaxis: { title: { text: "trades" } },
      shapes: [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: colour("dim"), width: 1, dash: "dot" } }] }]);
  const daily = plot(280, "Distribution of the daily returns of the equity", () => [
    [{ type: "histogram", x: data.daily_returns, nbinsx: 60, marker: { color: colour("hold") }, hovertemplate: "%{x}: %{y} days<extra></extra>" }],
    { hovermode: "closest", bargap: 0.05, xaxis: { tickformat: ".2%", title: { text: "daily return, marked" } }, yaxis: { title: { text: "days" } } }]);
  const exits = [...figures.by_exit_reason].sort((a, b) => a.n_trades - b.n_trades);
  const exitPlot = plot(Math.max(140, 60 + 34 * exits.length), "Exit reasons", () => [
    [{ type: "bar", orientation: "h", y: exits.map((group) => say(group.name)), x: exits.map((group) => group.pnl_quote), marker: { color: exits.map((group) => colour(group.pnl_quote < 0 ? "loss" : "gain")) },
      text: exits.map((group) => `${whole(group.n_trades)} trades`), textposition: "auto", hovertemplate: "%{y}: %{x:,.2f}<extra></extra>" }],
    { hovermode: "closest", xaxis: { title: { text: `P&L, ${quote}` } } }]);
  main.append(card("Months", ...monthGrid, element("p", { class: "small dim" }, "Change of the marked equity within each month, and trades closed in it; the stronger the colour, the larger the change.")));
  main.append(element("div", { class: "pair" }, card("Costs and exposure", figureRows(costRows())),
    exits.length ? card("Exit reasons", exitPlot, element("p", { class: "small dim" }, "P&L of the closed trades that left by each.")) : null));
  if (returns.length) main.append(element("div", { class: "pair" }, card("Returns of closed trades", distribution), card("Daily returns", daily)));

  // ---- candles -----------------------------------------------------------------------------------
  if (data.candles.length) {
    let chosen = data.candles[0];
    const list = element("select", { "aria-label": "Symbol" }, data.candles.map((each, place) => element("option", { value: place }, `${each.symbol} (${each.timeframe})`)));
    const everyone = [...data.trades, ...data.open_trades];
    const candlePlot = plot(460, "Candles with trades", () => {
      const own = everyone.filter((trade) => trade.symbol === chosen.symbol);
      const hover = (trade) => `${trade.strategy}${trade.fallback ? " (fallback)" : ""}, ${trade.exit_time === null ? "left open" : say(trade.exit_reason)}<br>${signed(trade.pnl_quote)} ${quote}, ${change(trade.return_net)}<br>in ${iso(trade.entry_time)} at ${price(trade.entry_price)}` +
        (trade.exit_time === null ? "" : `<br>out ${iso(trade.exit_time)} at ${price(trade.exit_price)}`);
      const lines = { x: [], y: [] };
      for (const trade of own) if (trade.exit_time !== null) { lines.x.push(new Date(trade.entry_time), new Date(trade.exit_time), null); lines.y.push(trade.entry_price, trade.exit_price, null); }
      const gone = own.filter((trade) => trade.exit_time !== null);
      const mark = (name, from, at, value, symbol, shade) => ({ type: "scatter", mode: "markers", name, x: from.map((trade) => new Date(trade[at])), y: from.map((trade) => trade[value]), text: from.map(hover), hovertemplate: "%{text}<extra></extra>",
        marker: { symbol, size: 10, color: from.map(shade), line: { color: colour("card"), width: 1 } } });
      return [[{ type: "candlestick", name: chosen.symbol, x: chosen.time_ms.map((ms) => new Date(ms)), open: chosen.open, high: chosen.high, low: chosen.low, close: chosen.close,
        increasing: { line: { color: colour("hold"), width: 1 } }, decreasing: { line: { color: colour("dim"), width: 1 } } },
      { type: "scatter", mode: "lines", x: lines.x, y: lines.y, connectgaps: false, hoverinfo: "skip", line: { color: colour("dim"), width: 1, dash: "dot" } },
      mark("entry", own, "entry_time", "entry_price", "triangle-up", () => colour("mark")),
      mark("exit", gone, "exit_time", "exit_price", "triangle-down", (trade) => colour(trade.pnl_quote < 0 ? "loss" : "gain"))],
      { hovermode: "closest", xaxis: { rangeslider: { visible: false }, type: "date" }, yaxis: { fixedrange: false, tickformat: "~g" } }];
    });
    const redraw = plots[plots.length - 1];
    list.addEventListener("change", () => { chosen = data.candles[Number(list.value)]; redraw(); });
    main.append(element("section", {}, element("div", { class: "bar" }, element("h2", {}, "Trades on candles"), list), candlePlot,
      element("p", { class: "small dim" }, "Up: mean entry. Down: mean exit, blue where it gained and orange where it lost. Drag over a part to see it larger, double-click for all.")));
  }

  // ---- groups ------------------------------------------------------------------------------------
  const groupColumns = (name) => [
    { title: name, value: (row) => row.name, text: true, show: (value) => say(value) },
    { key: "n_trades", value: (row) => row.n_trades, show: whole },
    { title: `P&L closed, ${quote}`, value: (row) => row.pnl_quote, show: signed, sign: true },
    { title: "of invested", value: (row) => row.return_net, show: change, sign: true },
    { key: "win_rate", value: (row) => row.win_rate, show: percent },
    { title: "Open", value: (row) => row.n_open, show: whole },
    { title: `P&L marked, ${quote}`, value: (row) => row.pnl_marked_quote, show: signed, sign: true },
    { key: "profit_factor", value: (row) => row.profit_factor, show: ratio },
    { key: "expectancy_quote", value: (row) => row.expectancy_quote, show: signed, sign: true },
    { key: "hold_hours_mean", value: (row) => row.hold_hours_mean, show: hours },
    { title: "Fees", value: (row) => row.fees_quote, show: amount },
    { title: "Slippage", value: (row) => row.slippage_quote, show: amount },
  ];
  const groups = (title, rows) => rows.length ? table(title, groupColumns(""), rows, true) : null;
  main.append(card("In groups",
    groups("By strategy", figures.by_strategy), groups("By entry tag", data.by_entry_tag), groups("By exit reason", figures.by_exit_reason),
    groups("By tier", data.by_tier), groups("By fast regime at the decision", data.by_regime), groups("By slow regime at the decision", data.by_slow_regime),
    groups("By symbol", figures.by_symbol),
    element("p", { class: "small dim" }, "Percentages of a group are its P&L over what was invested in it, never sums of percentages. A click on a title sorts.")));

  // ---- what came to nothing ----------------------------------------------------------------------
  const reasons = Object.keys(figures.rejected);
  const refused = reasons.length ? table(`Setups without a trade (${whole(Object.values(figures.rejected).reduce((a, b) => a + b, 0))} of ${whole(figures.setups)})`, [
    { title: "Reason", value: (row) => row, text: true, show: say },
    ...about.strategies.map((name) => ({ title: name, value: (row) => (data.rejected_by_strategy[name] ?? {})[row] ?? 0, show: whole })),
    { title: "All", value: (row) => figures.rejected[row], show: whole }], reasons, true) : null;
  const scans = table("What the scans said", [
    { title: "Strategy", value: (row) => row[0], text: true },
    { title: "Scans", value: (row) => Object.values(row[1]).reduce((a, b) => a + b, 0), show: whole },
    { title: "Setups", value: (row) => row[1].accepted ?? 0, show: whole },
    { title: "Stopped most often by", value: (row) => Object.entries(row[1]).filter(([reason]) => reason !== "accepted").slice(0, 4).map(([reason, count]) => `${say(reason)} ${whole(count)}`).join(", "), text: true }],
  Object.entries(about.scans));
  main.append(card("What came to nothing", scans, refused));

  // ---- periods and trades ------------------------------------------------------------------------
  const periodColumns = [
    { title: "Period", value: (row) => row.name, text: true },
    { title: "Equity at its end", value: (row) => row.equity_final, show: amount },
    { title: "Marked", value: (row) => row.return_marked, show: change, sign: true },
    { title: "Drawdown", value: (row) => row.max_drawdown, show: percent },
    { title: "Trades", value: (row) => row.n_trades, show: whole },
    { title: "Won", value: (row) => row.n_won, show: whole },
    { title: `P&L closed, ${quote}`, value: (row) => row.pnl_closed_quote, show: signed, sign: true },
    { title: "of invested", value: (row) => row.return_closed, show: change, sign: true },
    { title: "Buy and hold", value: (row) => row.return_buy_and_hold, show: change, sign: true }];
  main.append(card("Over time", ...["month", "week", "day"].filter((name) => data.breakdown[name].length > 1 || name === "month").map((name, place) =>
    element("details", place === 0 ? { open: "open" } : {}, element("summary", {}, `By ${name} (${data.breakdown[name].length})`), table("", periodColumns, data.breakdown[name], true)))));

  const tradeColumns = [
    { title: "Symbol", value: (row) => row.symbol, text: true },
    { title: "Strategy", value: (row) => row.strategy + (row.fallback ? " fallback" : ""), text: true },
    { title: "In", value: (row) => row.entry_time, show: iso, text: true },
    { title: "Out", value: (row) => row.exit_time, show: iso, text: true },
    { title: "Entry", value: (row) => row.entry_price, show: price },
    { title: "Exit", value: (row) => row.exit_price, show: price },
    { title: "Invested", value: (row) => row.invested_quote, show: amount },
    { title: "P&L", value: (row) => row.pnl_quote, show: signed, sign: true },
    { title: "of invested", value: (row) => row.return_net, show: change, sign: true },
    { title: "Exit reason", value: (row) => row.exit_reason, show: say, text: true },
    { title: "Fees", value: (row) => row.fee_quote, show: amount }];
  if (data.open_trades.length) main.append(card("Left open", table("", tradeColumns.filter((column) => column.title !== "Exit" && column.title !== "Out" && column.title !== "Exit reason"), data.open_trades, true),
    element("p", { class: "small dim" }, "P&L at the last closes, before the costs of selling.")));
  if (data.trades.length) {
    const page = 200;
    const place = element("div");
    let first = 0;
    const search = element("input", { type: "search", placeholder: "symbol, strategy or reason", "aria-label": "Find trades" });
    const draw = () => {
      const wanted = search.value.trim().toLowerCase();
      const rows = data.trades.filter((trade) => !wanted || `${trade.symbol} ${trade.strategy} ${say(trade.exit_reason)}`.toLowerCase().includes(wanted));
      first = Math.min(first, Math.max(0, Math.floor((rows.length - 1) / page) * page));
      const turn = (by, name) => element("button", { type: "button", onclick: () => { first += by; draw(); }, ...(first + by < 0 || first + by >= rows.length ? { disabled: "disabled" } : {}) }, name);
      place.replaceChildren(table("", tradeColumns, rows.slice(first, first + page), true),
        rows.length > page ? element("div", { class: "bar small dim", style: "margin-top:0.5rem" }, element("span", {}, `${whole(first + 1)} to ${whole(Math.min(first + page, rows.length))} of ${whole(rows.length)}`), element("span", {}, turn(-page, "Earlier"), " ", turn(page, "Later"))) : "");
    };
    search.addEventListener("input", () => { first = 0; draw(); });
    draw();
    main.append(element("section", {}, element("div", { class: "bar" }, element("h2", {}, `Closed trades (${whole(data.trades.length)})`), search), place));
  }

  main.append(element("footer", {}, [
    `configuration ${about.configuration_version}`, `crypto-tracker ${about.code_version}`, about.data_hash ? `data ${about.data_hash}` : null,
    about.seed === null ? null : `seed ${about.seed}`, about.run_id === null ? null : `run ${about.run_id}`,
    about.reference ? `reference ${about.reference}` : "no reference coin",
  ].filter((part) => part !== null).join(" · "), element("p", {}, "A result over the past. It says nothing for certain about what comes, and it is no advice.")));

  const drawAll = () => plots.forEach((draw) => draw());
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.documentElement.dataset.drawn = "yes";
})();
