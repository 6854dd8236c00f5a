// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"time"
)

// Check are the options of a check of a running operator.
type Check struct {
	// URL is the address that must answer with 200, such as /readyz of the operator.
	URL string
	// Timeout is how long to wait for the answer.
	Timeout time.Duration
}

// checkInterval is the time between two requests.
const checkInterval = time.Second

// BindFlags adds the flags to a flag set.
func (c *Check) BindFlags(flags *flag.FlagSet) {
	flags.StringVar(&c.URL, "url", "", "`address` that must answer with 200, such as http://cpnp-operator-metrics:8081/readyz")
	flags.DurationVar(&c.Timeout, "timeout", 60*time.Second, "how long to wait for the answer")
}

// Run returns nil as soon as the address answers with 200, and otherwise the last failure
// when the time is over.
func (c *Check) Run(ctx context.Context) error {
	if c.URL == "" {
		return errors.New("the address is not known: set --url")
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	for {
		err := requestOnce(ctx, c.URL)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the operator is not ready after %s: %w", c.Timeout, err)
		case <-time.After(checkInterval):
		}
	}
}

func requestOnce(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
