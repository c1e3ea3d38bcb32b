package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

type route struct{ method, path string }

var (
	list     = route{http.MethodGet, "/api/v1/tickets"}
	reserve  = route{http.MethodPost, "/api/v1/tickets/reserve"}
	purchase = route{http.MethodPost, "/api/v1/tickets/purchase"}
)

const (
	order            = `{"eventId":"test-event-id","tickets":[{"ticketTypeId":"test-type","quantity":1}]}`
	mostReservations = 1000
)

// outcome is what one request came to. Status is 0 where no answer came.
type outcome struct {
	route  string
	sent   time.Time
	ended  time.Time
	status int
	err    string
}

func (o outcome) failed() bool { return o.err != "" || o.status >= 500 }

// buyer sends single requests, each over a connection of its own, and buys what it reserved before.
type buyer struct {
	client *http.Client
	target string
	token  string

	mutex        sync.Mutex
	reservations []string
}

func newBuyer(target, token string, timeout time.Duration) *buyer {
	return &buyer{
		client: &http.Client{
			Timeout: timeout,
			Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext:       (&net.Dialer{Timeout: timeout}).DialContext,
			},
		},
		target: strings.TrimSuffix(target, "/"),
		token:  token,
	}
}

func (b *buyer) send(r route) outcome {
	result := outcome{route: r.path, sent: time.Now()}
	status, answer, err := b.exchange(r)
	result.ended = time.Now()
	result.status = status
	if err != nil {
		result.err = explain(err)
	} else if r == reserve && status == http.StatusCreated {
		b.remember(answer)
	}
	return result
}

func (b *buyer) exchange(r route) (int, []byte, error) {
	request, err := http.NewRequest(r.method, b.target+r.path, strings.NewReader(b.body(r)))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+b.token)
	if r.method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := b.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// body is the order; a purchase takes a reservation made before, where there is one.
func (b *buyer) body(r route) string {
	switch r {
	case list:
		return ""
	case purchase:
		b.mutex.Lock()
		defer b.mutex.Unlock()
		if last := len(b.reservations) - 1; last >= 0 {
			id := b.reservations[last]
			b.reservations = b.reservations[:last]
			return fmt.Sprintf(`{"reservationId":%q}`, id)
		}
	}
	return order
}

func (b *buyer) remember(answer []byte) {
	var reserved struct {
		ReservationID string `json:"reservationId"`
	}
	if json.Unmarshal(answer, &reserved) != nil || reserved.ReservationID == "" {
		return
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if len(b.reservations) < mostReservations {
		b.reservations = append(b.reservations, reserved.ReservationID)
	}
}

func explain(err error) string {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout: " + err.Error()
	}
	return err.Error()
}
