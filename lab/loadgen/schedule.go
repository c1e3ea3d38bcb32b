package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// schedule says when the next request leaves and which one it is. It never waits for an answer.
type schedule struct {
	random   *rand.Rand
	interval time.Duration
	poisson  bool
}

func newSchedule(rate float64, arrivals string, seed uint64) *schedule {
	return &schedule{
		random:   rand.New(rand.NewPCG(seed, seed)),
		interval: time.Duration(float64(time.Second) / rate),
		poisson:  arrivals == "poisson",
	}
}

func (s *schedule) gap() time.Duration {
	if s.poisson {
		return time.Duration(s.random.ExpFloat64() * float64(s.interval))
	}
	return s.interval
}

// route draws from the mix: 40 % look, 30 % reserve, 30 % purchase.
func (s *schedule) route() route {
	switch draw := s.random.Float64(); {
	case draw < 0.4:
		return list
	case draw < 0.7:
		return reserve
	default:
		return purchase
	}
}

// drive sends requests until the context ends, then waits for those in flight.
func drive(ctx context.Context, plan *schedule, buyer *buyer, records *recorder) {
	var flying sync.WaitGroup
	defer flying.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for next := time.Now(); ; next = next.Add(plan.gap()) {
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		chosen := plan.route()
		flying.Add(1)
		go func() {
			defer flying.Done()
			records.add(buyer.send(chosen))
		}()
	}
}
