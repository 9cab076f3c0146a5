// Means and rates of groups with 95 % intervals: what agegender/audit/estimates.py computes, to the same random draws.
const Estimates = (() => {
  const LEVEL_TAIL = 0.975, RESAMPLES = 2000, SMALLEST_BOOTSTRAP = 8, LARGEST_BOOTSTRAP = 3000, MOST_CLUSTERS = 1500;
  const FARTHEST = 2.5, OWN_CLUSTERS = 30, Z = 1.959963984540054, TINY = 2.2250738585072014e-308 * 1e8;
  const EVEN_Z = 1.9555; // the same quantile of 2,000 normal numbers that stand evenly, as large groups have them

  const BLOCK = 1 << 18, MOST_BLOCKS = 40; // numbers; each block takes 1 MB

  // SFC64 as numpy has it, in halves of 32 bits. Every slice starts from one seed, so what was drawn once is kept.
  class Stream {
    constructor(seed) {
      this.state = Uint32Array.from(seed);
      this.blocks = [];
      this.beyond = null; // the block after the kept ones, and the state that it is drawn from
    }

    block(place) {
      while (this.blocks.length <= place && this.blocks.length < MOST_BLOCKS) this.blocks.push(this.fill(new Uint32Array(BLOCK), this.state));
      if (place < this.blocks.length) return this.blocks[place];
      if (place === MOST_BLOCKS) this.beyond = { state: this.state.slice(), numbers: new Uint32Array(BLOCK) };
      return this.fill(this.beyond.numbers, this.beyond.state);
    }

    // Each number of 64 bits gives two of 32, the low half first.
    fill(into, state) {
      let [al, ah, bl, bh, cl, ch, wl, wh] = state;
      for (let place = 0; place < into.length; place += 2) {
        const sum = (al >>> 0) + (bl >>> 0) + (wl >>> 0);
        const low = sum | 0, high = (ah + bh + wh + Math.floor(sum / 4294967296)) | 0;
        wl = (wl + 1) | 0;
        if (wl === 0) wh = (wh + 1) | 0;
        al = bl ^ ((bl >>> 11) | (bh << 21));
        ah = bh ^ (bh >>> 11);
        const nine = (cl >>> 0) + ((cl << 3) >>> 0);
        bh = (ch + ((ch << 3) | (cl >>> 29)) + (nine > 4294967295 ? 1 : 0)) | 0;
        bl = nine | 0;
        const turned = ((cl << 24) | (ch >>> 8)) >>> 0, next = turned + (low >>> 0);
        ch = (((ch << 24) | (cl >>> 8)) + high + (next > 4294967295 ? 1 : 0)) | 0;
        cl = next | 0;
        into[place] = low;
        into[place + 1] = high;
      }
      state.set([al, ah, bl, bh, cl, ch, wl, wh]);
      return into;
    }
  }

  class Reader {
    constructor(stream) {
      this.stream = stream;
      this.place = -1;
      this.at = BLOCK;
      this.block = null;
    }

    next() {
      this.place += 1;
      this.block = this.stream.block(this.place);
      return this.block;
    }
  }

  function logGamma(x) {
    const parts = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5];
    const sum = parts.reduce((total, part, place) => total + part / (x + 1 + place), 1.000000000190015);
    return (x + 0.5) * Math.log(x + 5.5) - x - 5.5 + Math.log(2.5066282746310005 * sum / x);
  }

  // Upper tail of Student's distribution, by the continued fraction of the incomplete beta function.
  function studentTail(t, freedom) {
    const x = freedom / (freedom + t * t), a = freedom / 2, b = 0.5;
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x));
    const fraction = (p, q, y) => {
      let c = 1, d = 1 / (1 - (p + q) * y / (p + 1)), h = d;
      for (let m = 1; m < 300; m += 1) {
        for (const up of [m * (q - m) * y / ((p + 2 * m - 1) * (p + 2 * m)), -(p + m) * (p + q + m) * y / ((p + 2 * m) * (p + 2 * m + 1))]) {
          d = 1 / (1 + up * d);
          c = 1 + up / c;
          h *= d * c;
        }
        if (Math.abs(d * c - 1) < 1e-14) break;
      }
      return h;
    };
    return 0.5 * (x < (a + 1) / (a + b + 2) ? front * fraction(a, b, x) / a : 1 - front * fraction(b, a, 1 - x) / b);
  }

  const students = new Map();
  function student(units, probability) {
    const freedom = Math.max(units - 1, 1), key = `${freedom} ${probability}`;
    if (!students.has(key)) {
      let low = 0, high = 64;
      for (let step = 0; step < 60; step += 1) {
        const middle = (low + high) / 2;
        if (studentTail(middle, freedom) > 1 - probability) low = middle;
        else high = middle;
      }
      students.set(key, (low + high) / 2);
    }
    return students.get(key);
  }

  function wilson(hits, count) {
    if (!(count > 0)) return [NaN, NaN];
    const rate = hits / count, whole = 1 + Z * Z / count;
    const middle = (rate + Z * Z / (2 * count)) / whole;
    const reach = Z / whole * Math.sqrt(rate * (1 - rate) / count + Z * Z / (4 * count * count));
    return [Math.min(Math.max(middle - reach, 0), 1), Math.min(Math.max(middle + reach, 0), 1)];
  }

  function quantile(sorted, share) {
    const place = share * (sorted.length - 1), below = Math.floor(place), part = place - below;
    return part === 0 ? sorted[below] : sorted[below] + (sorted[below + 1] - sorted[below]) * part;
  }

  // The cells of a group: each cluster's rows and sums of one or several metrics; without clusters a row is a cell.
  function cellsOf(metrics, codes, groupCount, clusters) {
    const order = [...codes.keys()].filter((row) => codes[row] >= 0);
    order.sort((a, b) => codes[a] - codes[b] || (clusters ? clusters[a] - clusters[b] : 0) || a - b);
    const starts = new Int32Array(groupCount + 1), rows = [], clusterOf = [], sums = metrics.map(() => []);
    let group = -1, cluster = NaN;
    for (const row of order) {
      if (codes[row] !== group || !clusters || clusters[row] !== cluster) {
        for (; group < codes[row]; ) { group += 1; starts[group] = rows.length; }
        cluster = clusters ? clusters[row] : NaN;
        rows.push(0);
        clusterOf.push(cluster);
        sums.forEach((one) => one.push(0));
      }
      rows[rows.length - 1] += 1;
      metrics.forEach((values, place) => { sums[place][rows.length - 1] += values[row]; });
    }
    for (; group < groupCount; ) { group += 1; starts[group] = rows.length; }
    return { starts, rows, clusterOf, sums };
  }

  const isClustered = (codes, clusters) => {
    if (!clusters) return false;
    const seen = new Set();
    return codes.some((code, row) => {
      if (code < 0) return false;
      if (seen.has(clusters[row])) return true;
      seen.add(clusters[row]);
      return false;
    });
  };

  // One group's resamples: shifts of the mean and their standard errors, for one or two metrics.
  function resample({ units, total, clustered, deviations, rows }, reader) {
    if (units > (clustered ? MOST_CLUSTERS : LARGEST_BOOTSTRAP)) return null;
    const isSingle = total === units, [first, second] = [deviations[0], deviations[1] ?? deviations[0]];
    const made = [0, 1].map(() => [new Float64Array(RESAMPLES), new Float64Array(RESAMPLES)]);
    const few = units / (units - 1), threshold = (4294967296 - units) % units, scale = units / 4294967296;
    let { block, at } = reader;
    for (let turn = 0; turn < RESAMPLES; turn += 1) {
      let s = 0, ss = 0, sr = 0, t = 0, tt = 0, tr = 0, r = units, rr = units;
      for (let place = 0; place < units;) {
        if (at === BLOCK) { block = reader.next(); at = 0; }
        const drawn = block[at];
        at += 1;
        if ((Math.imul(drawn, units) >>> 0) < threshold) continue; // Lemire's way, without bias
        const chosen = (drawn * scale) | 0, x = first[chosen], y = second[chosen];
        s += x; ss += x * x;
        t += y; tt += y * y;
        if (!isSingle && rows[chosen] !== 1) {
          const n = rows[chosen];
          r += n - 1; rr += n * n - 1; sr += x * (n - 1); tr += y * (n - 1);
        }
        place += 1;
      }
      const shift = s / r, other = t / r;
      made[0][0][turn] = shift;
      made[1][0][turn] = other;
      made[0][1][turn] = Math.sqrt(Math.max(ss - 2 * shift * (s + sr) + shift * shift * rr, 0) * few) / r;
      made[1][1][turn] = Math.sqrt(Math.max(tt - 2 * other * (t + tr) + other * other * rr, 0) * few) / r;
    }
    Object.assign(reader, { block, at });
    return made;
  }

  function meanEnds(mean, error, kish, isPositive, made) {
    if (kish < 2) return [NaN, NaN];
    if (kish < SMALLEST_BOOTSTRAP) {
      const reach = student(kish, LEVEL_TAIL) * error;
      return [isPositive ? Math.max(mean - reach, 0) : mean - reach, mean + reach];
    }
    if (!made && !isPositive) return [mean - EVEN_Z * error, mean + EVEN_Z * error];
    if (!made) {
      const relative = error / mean, t = (z) => Math.log1p(z * relative) * (1 + z * relative) / relative;
      return [mean * Math.exp(-t(EVEN_Z) * relative), mean * Math.exp(-t(-EVEN_Z) * relative)];
    }
    const [shifts, errors] = made, floor = (size) => Math.max(1e-3 * size, TINY);
    const t = new Float64Array(RESAMPLES);
    if (isPositive) {
      const centre = Math.max(mean, TINY), relative = error / centre;
      for (let turn = 0; turn < RESAMPLES; turn += 1) {
        const drawn = Math.max(mean + shifts[turn], TINY);
        t[turn] = (Math.log(drawn) - Math.log(centre)) / Math.max(errors[turn] / drawn, floor(relative));
      }
      t.sort();
      const farthest = FARTHEST * student(kish, LEVEL_TAIL);
      const lower = Math.max(quantile(t, 1 - LEVEL_TAIL), -farthest), upper = Math.min(quantile(t, LEVEL_TAIL), farthest);
      return [centre * Math.exp(-upper * relative), centre * Math.exp(-lower * relative)];
    }
    for (let turn = 0; turn < RESAMPLES; turn += 1) t[turn] = Math.abs(shifts[turn]) / Math.max(errors[turn], floor(error));
    t.sort();
    const reach = Math.min(quantile(t, 0.95), FARTHEST * student(kish, 0.95)) * error;
    return [mean - reach, mean + reach];
  }

  const streams = new Map();
  function streamOf(seed) {
    const key = seed.join();
    if (!streams.has(key)) streams.set(key, new Stream(seed));
    return streams.get(key);
  }

  // Metrics that are known for the same rows, at most two at once: [{ count, mean, low, high }] of each group.
  function means(metrics, codes, groupCount, clusters, seed) {
    const clustered = isClustered(codes, clusters);
    const cells = cellsOf(metrics, codes, groupCount, clustered ? clusters : null);
    const reader = new Reader(streamOf(seed));
    const isPositive = metrics.map((values) => !codes.some((code, row) => code >= 0 && values[row] < 0));
    const found = metrics.map(() => []);
    for (let group = 0; group < groupCount; group += 1) {
      const [start, stop] = [cells.starts[group], cells.starts[group + 1]];
      const rows = Float64Array.from(cells.rows.slice(start, stop)), units = stop - start;
      let total = 0, squares = 0;
      rows.forEach((n) => { total += n; squares += n * n; });
      const sums = metrics.map((_, metric) => Float64Array.from(cells.sums[metric].slice(start, stop)));
      const centres = sums.map((one) => one.reduce((whole, value) => whole + value, 0) / total);
      const deviations = sums.map((one, metric) => one.map((value, place) => value - centres[metric] * rows[place]));
      const made = units > 1 ? resample({ units, total, clustered, deviations, rows }, reader) : null;
      metrics.forEach((_, metric) => {
        if (!units) { found[metric].push({ count: 0, mean: NaN, low: NaN, high: NaN }); return; }
        const square = deviations[metric].reduce((whole, value) => whole + value * value, 0);
        const error = clustered ? Math.sqrt(square * units / (units - 1)) / total : Math.sqrt(square / total / Math.max(total - 1, 1));
        const kish = clustered ? total * total / Math.max(squares, 1) : total;
        const [low, high] = meanEnds(centres[metric], error, kish, isPositive[metric], made && made[metric]);
        found[metric].push({ count: total, mean: centres[metric], low, high });
      });
    }
    return found;
  }

  // How many separate rows the rows of each group are worth, as agegender/audit/cluster_sums.py has it.
  function effectiveCounts({ starts, rows, sums }, groupCount) {
    const groups = [];
    let excess = 0, pairs = 0;
    for (let group = 0; group < groupCount; group += 1) {
      let total = 0, squares = 0, hits = 0;
      for (let cell = starts[group]; cell < starts[group + 1]; cell += 1) {
        total += rows[cell]; squares += rows[cell] ** 2; hits += sums[0][cell];
      }
      const rate = hits / total, units = starts[group + 1] - starts[group], few = units > 1 ? units / (units - 1) : 0;
      let deviation = 0;
      for (let cell = starts[group]; cell < starts[group + 1]; cell += 1) deviation += (sums[0][cell] - rate * rows[cell]) ** 2;
      const spread = total ? rate * (1 - rate) : 0;
      const one = { total, squares, kish: total * total / Math.max(squares, 1), excess: deviation * few - total * spread, pairs: (squares - total) * spread };
      excess += one.excess; pairs += one.pairs;
      groups.push(one);
    }
    const common = pairs > 0 ? Math.min(Math.max(excess / pairs, 0), 1) : 1;
    return groups.map(({ total, squares, kish, excess: own, pairs: its }) => {
      const weight = kish / (kish + OWN_CLUSTERS);
      const likeness = Math.min(Math.max(weight * (its > 0 ? own / its : common) + (1 - weight) * common, 0), 1);
      const share = kish >= 2 ? (Z / student(kish, LEVEL_TAIL)) ** 2 : NaN;
      return total / (1 + (squares / total - 1) * likeness) * share;
    });
  }

  // Values 0 and 1: the same, by Wilson.
  function rates(values, codes, groupCount, clusters) {
    const clustered = isClustered(codes, clusters);
    const cells = cellsOf([values], codes, groupCount, clustered ? clusters : null);
    const worth = clustered ? effectiveCounts(cells, groupCount) : null;
    return Array.from({ length: groupCount }, (_, group) => {
      let total = 0, hits = 0;
      for (let cell = cells.starts[group]; cell < cells.starts[group + 1]; cell += 1) { total += cells.rows[cell]; hits += cells.sums[0][cell]; }
      const n = worth ? worth[group] : total;
      const [low, high] = wilson(hits / total * n, n);
      return { count: total, mean: total ? hits / total : NaN, low, high };
    });
  }

  // Draw ahead, a block at a time, while nothing else is to be done; false once there is enough for so many rows.
  function drawAhead(seed, rowCount) {
    const stream = streamOf(seed), wanted = Math.min(Math.ceil(rowCount * RESAMPLES / BLOCK) + 1, MOST_BLOCKS);
    if (stream.blocks.length < wanted) stream.block(stream.blocks.length);
    return stream.blocks.length < wanted;
  }

  return { means, rates, drawAhead };
})();
