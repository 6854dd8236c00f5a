// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

const (
	// catchUpPath and catchUpParameter make the requests that only wait for the log. The
	// parameter numbers the requests.
	catchUpPath, catchUpParameter = "/version", "audit-log-request"
	// catchUpInterval is the time between looks into the log.
	catchUpInterval = time.Millisecond
)

// catchUp waits until earlier requests are in the log. The effect of a request can be seen as
// soon as the request's object is stored, which is shortly before the request is logged.
type catchUp struct {
	client rest.Interface
	made   atomic.Int64
}

func newCatchUp(config *rest.Config) (*catchUp, error) {
	unlimited := rest.CopyConfig(config)
	unlimited.QPS = -1
	c, err := discovery.NewDiscoveryClientForConfig(unlimited)
	if err != nil {
		return nil, err
	}
	return &catchUp{client: c.RESTClient()}, nil
}

// wait makes a request, and returns once the log has the line of this request.
func (c *catchUp) wait(log string) error {
	before, err := os.Stat(log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	number := fmt.Sprintf("%08d", c.made.Add(1)) // of one length, because another parameter may follow
	if err := c.client.Get().AbsPath(catchUpPath).Param(catchUpParameter, number).Do(ctx).Error(); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	wanted := []byte(catchUpURI(number))
	err = wait.PollUntilContextCancel(ctx, catchUpInterval, true, func(context.Context) (bool, error) {
		added, err := readFrom(log, before.Size())
		return bytes.Contains(added, wanted), err
	})
	if err != nil {
		return fmt.Errorf("audit log: waiting for the line of %s: %w", wanted, err)
	}
	return nil
}

func readFrom(path string, offset int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.NewSectionReader(file, offset, math.MaxInt64-offset))
}

func catchUpURI(number string) string { return catchUpPath + "?" + catchUpParameter + "=" + number }

// onlyCatchesUp tells whether a request was made by catchUp.
func onlyCatchesUp(uri string) bool { return strings.HasPrefix(uri, catchUpURI("")) }
