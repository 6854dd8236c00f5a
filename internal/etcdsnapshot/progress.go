// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// progressInterval is the time between two lines.
const progressInterval = 5 * time.Second

// progress counts the written bytes of a snapshot.
type progress struct {
	total   int64 // as far as known; the size of the database
	written atomic.Int64
}

// Write counts.
func (p *progress) Write(block []byte) (int, error) {
	p.written.Add(int64(len(block)))
	return len(block), nil
}

// show prints a line in every interval until the context ends, also when nothing arrives.
func (p *progress) show(ctx context.Context, out io.Writer, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			written := p.written.Load()
			fmt.Fprintln(out, describeProgress(written, p.total, written-before, interval))
			before = written
		}
	}
}

// describeProgress tells how much is written, and how fast it was in the last interval.
func describeProgress(written, total, recent int64, interval time.Duration) string {
	rate := formatBytes(int64(float64(recent) / interval.Seconds()))
	if total <= 0 {
		return fmt.Sprintf("%s written, %s/s", formatBytes(written), rate)
	}
	percent := min(100*written/total, 100)
	return fmt.Sprintf("%s of %s written (%d%%), %s/s", formatBytes(written), formatBytes(total), percent, rate)
}

// formatBytes returns a size with a unit that leaves at most four digits.
func formatBytes(bytes int64) string {
	const step = 1024
	if bytes < step {
		return fmt.Sprintf("%d B", bytes)
	}
	value, units := float64(bytes)/step, []string{"KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; value >= step && i < len(units)-1; i++ {
		value /= step
	}
	return fmt.Sprintf("%.1f %s", value, units[i])
}
