// shop is a service for the Compose tests: it answers the load generator's routes, counts on its
// metrics page, and fails by its environment. FAIL is the share of requests that fail, in percent;
// PAGE makes its metrics page an attack (see hostile), EXIT ends it with that code after a second.
package main

import (
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	mutex    sync.Mutex
	requests = map[string]int{"/api/v1/tickets": 0, "/api/v1/tickets/reserve": 0, "/api/v1/tickets/purchase": 0}
	failed   = map[string]int{"/api/v1/tickets": 0, "/api/v1/tickets/reserve": 0, "/api/v1/tickets/purchase": 0}
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "ready" {
		check()
	}
	fail, _ := strconv.Atoi(os.Getenv("FAIL"))
	if code := os.Getenv("EXIT"); code != "" {
		time.Sleep(time.Second)
		number, _ := strconv.Atoi(code)
		os.Exit(number)
	}
	http.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		isFailed := rand.Intn(100) < fail
		count(r.URL.Path, isFailed)
		if isFailed {
			http.Error(w, "the release is broken", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"reservationId":"r%d"}`, rand.Int())
	})
	http.HandleFunc("/metrics", page)
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	fmt.Println("serving", os.Getenv("RELEASE"))
	go func() {
		if err := http.ListenAndServe(":8080", nil); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}()
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM)
	<-ends
}

func check() {
	response, err := http.Get("http://127.0.0.1:8080/health")
	if err != nil || response.StatusCode != http.StatusOK {
		os.Exit(1)
	}
	os.Exit(0)
}

func count(path string, isFailed bool) {
	mutex.Lock()
	defer mutex.Unlock()
	if _, known := requests[path]; !known {
		return
	}
	requests[path]++
	if isFailed {
		failed[path]++
	}
}

func page(w http.ResponseWriter, _ *http.Request) {
	if kind := os.Getenv("PAGE"); kind != "" {
		hostile(w, kind)
		return
	}
	mutex.Lock()
	defer mutex.Unlock()
	for route, number := range requests {
		fmt.Fprintf(w, "http_request_duration_seconds_count{route=%q} %d\n", route, number)
		fmt.Fprintf(w, "http_request_errors_total{route=%q} %d\n", route, failed[route])
	}
}

// hostile serves a page that is huge, never ends, never begins, or is hard to match.
func hostile(w http.ResponseWriter, kind string) {
	const counter = "http_request_duration_seconds_count{route=%q} 1\n"
	switch kind {
	case "huge":
		for i := 0; i < 1<<12; i++ {
			if _, err := fmt.Fprintf(w, counter, strings.Repeat("x", 1<<20)); err != nil {
				return
			}
		}
	case "endless":
		for {
			if _, err := fmt.Fprintf(w, counter, "/api"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	case "informational":
		connection, _, err := w.(http.Hijacker).Hijack()
		for err == nil {
			_, err = fmt.Fprintf(connection, "HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n", strings.Repeat("x", 1<<10))
		}
	case "patterns":
		for i := 0; i < 1<<14; i++ {
			fmt.Fprintf(w, counter, fmt.Sprint(i, strings.Repeat("(a+)+", 40), "\\\"{}\n"))
		}
	}
}
