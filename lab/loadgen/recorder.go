package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// recorder keeps the log of single requests and the sums for the summary.
type recorder struct {
	mutex   sync.Mutex
	started time.Time
	log     *os.File
	logAll  bool
	routes  map[string]*tally
}

type tally struct {
	sent, ok, refused, failed int
	firstFailure, lastFailure time.Time
	durations                 []time.Duration
}

type line struct {
	Time         time.Time `json:"time"`
	Sent         time.Time `json:"sent"`
	Route        string    `json:"route"`
	Status       int       `json:"status,omitempty"`
	Error        string    `json:"error,omitempty"`
	Failed       bool      `json:"failed"`
	Milliseconds float64   `json:"milliseconds"`
}

func newRecorder(logFile string, logAll bool) (*recorder, error) {
	r := &recorder{started: time.Now(), logAll: logAll, routes: map[string]*tally{}}
	for _, known := range []route{list, reserve, purchase} {
		r.routes[known.path] = &tally{}
	}
	if logFile == "" {
		return r, nil
	}
	file, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("-log: %w", err)
	}
	r.log = file
	return r, nil
}

func (r *recorder) close() {
	if r.log != nil {
		r.log.Close()
	}
}

func (r *recorder) add(o outcome) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	t := r.routes[o.route]
	t.sent++
	t.durations = append(t.durations, o.ended.Sub(o.sent))
	switch {
	case o.failed():
		t.failed++
		if t.firstFailure.IsZero() || o.ended.Before(t.firstFailure) {
			t.firstFailure = o.ended
		}
		if o.ended.After(t.lastFailure) {
			t.lastFailure = o.ended
		}
	case o.status >= 400:
		t.refused++
	default:
		t.ok++
	}
	if r.log != nil && (r.logAll || o.failed()) {
		r.write(o)
	}
}

// write puts the whole line out in one call, so that a reader never sees half of one.
func (r *recorder) write(o outcome) {
	text, err := json.Marshal(line{
		Time:         o.ended.UTC(),
		Sent:         o.sent.UTC(),
		Route:        o.route,
		Status:       o.status,
		Error:        o.err,
		Failed:       o.failed(),
		Milliseconds: milliseconds(o.ended.Sub(o.sent)),
	})
	if err == nil {
		_, err = r.log.Write(append(text, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadgen: the log is incomplete:", err)
	}
}

type summary struct {
	Started time.Time               `json:"started"`
	Ended   time.Time               `json:"ended"`
	Total   routeSummary            `json:"total"`
	Routes  map[string]routeSummary `json:"routes"`
}

type routeSummary struct {
	Sent            int        `json:"sent"`
	OK              int        `json:"ok"`
	Refused         int        `json:"refused"` // answered 4xx: no failure of the service
	Failed          int        `json:"failed"`
	FirstFailure    *time.Time `json:"firstFailure"`
	LastFailure     *time.Time `json:"lastFailure"`
	P50Milliseconds float64    `json:"p50Milliseconds"`
	P99Milliseconds float64    `json:"p99Milliseconds"`
}

func (r *recorder) summarize() summary {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	result := summary{Started: r.started.UTC(), Ended: time.Now().UTC(), Routes: map[string]routeSummary{}}
	all := &tally{}
	for path, t := range r.routes {
		result.Routes[path] = t.summarize()
		all.merge(t)
	}
	result.Total = all.summarize()
	return result
}

func (t *tally) merge(other *tally) {
	t.sent += other.sent
	t.ok += other.ok
	t.refused += other.refused
	t.failed += other.failed
	t.durations = append(t.durations, other.durations...)
	if !other.firstFailure.IsZero() && (t.firstFailure.IsZero() || other.firstFailure.Before(t.firstFailure)) {
		t.firstFailure = other.firstFailure
	}
	if other.lastFailure.After(t.lastFailure) {
		t.lastFailure = other.lastFailure
	}
}

func (t *tally) summarize() routeSummary {
	sorted := slices.Sorted(slices.Values(t.durations))
	return routeSummary{
		Sent: t.sent, OK: t.ok, Refused: t.refused, Failed: t.failed,
		FirstFailure: orNull(t.firstFailure), LastFailure: orNull(t.lastFailure),
		P50Milliseconds: percentile(sorted, 0.50), P99Milliseconds: percentile(sorted, 0.99),
	}
}

func orNull(moment time.Time) *time.Time {
	if moment.IsZero() {
		return nil
	}
	moment = moment.UTC()
	return &moment
}

// percentile is the nearest-rank one; 0 of no measurements.
func percentile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return milliseconds(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// writeSummary puts the summary in place as a whole, or prints it where no file is named.
func (r *recorder) writeSummary(file string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r.summarize()); err != nil {
		return err
	}
	if file == "" {
		_, err := os.Stdout.Write(text.Bytes())
		return err
	}
	if err := os.WriteFile(file+".new", text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("-summary: %w", err)
	}
	return os.Rename(file+".new", file)
}
