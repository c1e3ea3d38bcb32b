// Command loadgen buys tickets: an open-loop load on the lab's ticket service that records what its users would have felt.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type settings struct {
	target      string
	rate        float64
	arrivals    string
	duration    time.Duration
	timeout     time.Duration
	token       string
	logFile     string
	logAll      bool
	summaryFile string
	seed        uint64
	stdin       bool
}

func main() {
	chosen, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(chosen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

func parse(arguments []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("loadgen", flag.ContinueOnError)
	flags.StringVar(&s.target, "target", "", "base URL of the service, such as http://10.96.0.20")
	flags.Float64Var(&s.rate, "rate", 20, "requests per second")
	flags.StringVar(&s.arrivals, "arrivals", "poisson", "poisson or constant")
	flags.DurationVar(&s.duration, "duration", 0, "how long; 0 runs until SIGTERM or SIGINT")
	flags.DurationVar(&s.timeout, "timeout", 5*time.Second, "after which a request has failed")
	flags.StringVar(&s.token, "token", "", "bearer token")
	flags.StringVar(&s.logFile, "log", "", "file that gets one JSON line a failure, at once")
	flags.BoolVar(&s.logAll, "log-all", false, "log every request, not failures alone")
	flags.StringVar(&s.summaryFile, "summary", "", "file that gets the JSON summary at the end; default standard output")
	flags.BoolVar(&s.stdin, "stdin", false, "also end when standard input ends, with the program that started this one")
	flags.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of the arrivals and the mix of routes")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	return s, s.check(flags.Args())
}

func (s settings) check(rest []string) error {
	base, err := url.Parse(s.target)
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "":
		return fmt.Errorf("-target %q is not an http URL; give one such as http://10.96.0.20", s.target)
	case s.rate <= 0 || s.rate > 10000:
		return fmt.Errorf("-rate %v is outside 0..10000 requests per second", s.rate)
	case s.arrivals != "poisson" && s.arrivals != "constant":
		return fmt.Errorf("-arrivals %q is neither poisson nor constant", s.arrivals)
	case s.duration < 0 || s.timeout <= 0:
		return errors.New("-duration must be 0 or more, -timeout more than 0")
	}
	return nil
}

func run(s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.duration > 0 {
		var expire context.CancelFunc
		ctx, expire = context.WithTimeout(ctx, s.duration)
		defer expire()
	}
	if s.stdin {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	records, err := newRecorder(s.logFile, s.logAll)
	if err != nil {
		return err
	}
	defer records.close()
	drive(ctx, newSchedule(s.rate, s.arrivals, s.seed), newBuyer(s.target, s.token, s.timeout), records)
	return records.writeSummary(s.summaryFile)
}
