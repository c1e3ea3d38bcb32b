package main

import (
	"bufio"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// shop is a real HTTP server that answers like the ticket service, or as a test wants.
type shop struct {
	*httptest.Server
	mutex       sync.Mutex
	connections int
	bodies      map[string][]string
}

func newShop(t *testing.T, answer http.HandlerFunc) *shop {
	t.Helper()
	s := &shop{bodies: map[string][]string{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mutex.Lock()
		s.bodies[r.URL.Path] = append(s.bodies[r.URL.Path], string(body))
		s.mutex.Unlock()
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mutex.Lock()
			s.connections++
			s.mutex.Unlock()
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func works(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, `{"reservationId":"r-1"}`)
}

// load runs the generator against a target and returns its summary and log lines.
func load(t *testing.T, target string, extra ...string) (summary, []line) {
	t.Helper()
	folder := t.TempDir()
	log, sums := filepath.Join(folder, "log"), filepath.Join(folder, "summary")
	arguments := append([]string{"-target", target, "-token", "secret", "-rate", "200", "-duration", "1s",
		"-log", log, "-summary", sums}, extra...)
	chosen, err := parse(arguments)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(chosen); err != nil {
		t.Fatal(err)
	}
	var result summary
	text, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var lines []line
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		var one line
		if err := json.Unmarshal(scanner.Bytes(), &one); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, one)
	}
	return result, lines
}

func TestHealthyServiceHasNoFailures(t *testing.T) {
	s := newShop(t, works)
	result, lines := load(t, s.URL)
	if result.Total.Failed != 0 || result.Total.Refused != 0 || len(lines) != 0 {
		t.Errorf("failures: %+v, lines %d", result.Total, len(lines))
	}
	if result.Total.Sent < 140 || result.Total.Sent > 260 || result.Total.OK != result.Total.Sent {
		t.Errorf("sent %d, ok %d at 200/s for 1 s", result.Total.Sent, result.Total.OK)
	}
	if s.connections != result.Total.Sent {
		t.Errorf("%d connections for %d requests", s.connections, result.Total.Sent)
	}
	if result.Total.FirstFailure != nil || result.Total.P99Milliseconds <= 0 {
		t.Errorf("summary %+v", result.Total)
	}
}

func TestPurchasesUseReservations(t *testing.T) {
	s := newShop(t, works)
	load(t, s.URL)
	reserved := strings.Count(strings.Join(s.bodies[purchase.path], "\n"), `"reservationId":"r-1"`)
	if reserved == 0 {
		t.Error("no purchase of a reservation")
	}
	if s.bodies[reserve.path][0] != order {
		t.Errorf("reserve body %s", s.bodies[reserve.path][0])
	}
}

func TestServerErrorsAreFailuresAndRefusalsAreNot(t *testing.T) {
	s := newShop(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case purchase.path:
			w.WriteHeader(http.StatusInternalServerError)
		case reserve.path:
			w.WriteHeader(http.StatusConflict)
		}
	})
	result, lines := load(t, s.URL)
	if p := result.Routes[purchase.path]; p.Failed != p.Sent || p.Failed == 0 || p.FirstFailure == nil || p.LastFailure.Before(*p.FirstFailure) {
		t.Errorf("purchase %+v", p)
	}
	if r := result.Routes[reserve.path]; r.Refused != r.Sent || r.Failed != 0 {
		t.Errorf("reserve %+v", r)
	}
	if len(lines) != result.Total.Failed {
		t.Errorf("%d lines for %d failures", len(lines), result.Total.Failed)
	}
	for _, one := range lines {
		if one.Route != purchase.path || one.Status != 500 || one.Time.Before(one.Sent) {
			t.Errorf("line %+v", one)
		}
	}
}

func TestNoAnswerIsAFailure(t *testing.T) {
	closed := httptest.NewServer(http.HandlerFunc(works))
	closed.Close()
	result, lines := load(t, closed.URL)
	if result.Total.Failed != result.Total.Sent || !strings.Contains(lines[0].Error, "refused") {
		t.Errorf("summary %+v, first line %+v", result.Total, lines[0])
	}
}

func TestALateAnswerIsAFailure(t *testing.T) {
	release := make(chan struct{})
	s := newShop(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	result, lines := load(t, s.URL, "-rate", "20", "-timeout", "100ms")
	if result.Total.Failed != result.Total.Sent || !strings.HasPrefix(lines[0].Error, "timeout: ") {
		t.Errorf("summary %+v, first line %+v", result.Total, lines[0])
	}
}

func TestOpenLoopDoesNotWaitForAnswers(t *testing.T) {
	s := newShop(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(500 * time.Millisecond)
		works(w, r)
	})
	result, lines := load(t, s.URL, "-rate", "100", "-arrivals", "constant", "-log-all")
	if result.Total.Sent < 95 || result.Total.Sent > 101 || len(lines) != result.Total.Sent {
		t.Errorf("sent %d, lines %d", result.Total.Sent, len(lines))
	}
}

func TestItEndsWithStandardInput(t *testing.T) {
	s := newShop(t, works)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	original := os.Stdin
	os.Stdin = reader
	t.Cleanup(func() { os.Stdin = original })
	time.AfterFunc(300*time.Millisecond, func() { writer.Close() })
	began := time.Now()
	result, _ := load(t, s.URL, "-duration", "0", "-stdin")
	if took := time.Since(began); took > 5*time.Second || result.Total.Sent == 0 {
		t.Errorf("took %v, sent %d", took, result.Total.Sent)
	}
}

func TestScheduleKeepsRateAndMix(t *testing.T) {
	const draws = 100_000
	plan := newSchedule(50, "poisson", 1)
	var total time.Duration
	count := map[route]int{}
	for range draws {
		total += plan.gap()
		count[plan.route()]++
	}
	near := func(name string, got, want float64) {
		if math.Abs(got-want) > 0.01*want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
	near("rate", draws/total.Seconds(), 50)
	near("list", float64(count[list])/draws, 0.4)
	near("reserve", float64(count[reserve])/draws, 0.3)
	near("purchase", float64(count[purchase])/draws, 0.3)
}

func TestBadFlagsAreNamed(t *testing.T) {
	for flags, want := range map[string]string{
		"":                                    "-target",
		"-target ftp://x":                     "-target",
		"-target http://x -rate 0":            "-rate",
		"-target http://x -arrivals sometime": "-arrivals",
		"-target http://x -timeout 0s":        "-timeout",
		"-target http://x more":               "more",
	} {
		if _, err := parse(strings.Fields(flags)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", flags, err)
		}
	}
}
