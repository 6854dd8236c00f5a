// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// pageSize is how many objects are asked for at once, where they are not large.
	pageSize = 100
	// maxPageBytes is how much of a page is read, in bytes. Who may write objects can
	// fill them, with more than a mebibyte of metadata each: a page of which there is
	// more is asked for again with fewer objects. It has room for one object, however
	// it is written.
	maxPageBytes = 12 << 20
	// maxPages ends a list that a server never ends.
	maxPages = 20_000
)

// errTooLarge is that of a page.
var errTooLarge = errors.New("the answer is too large")

// inPages asks the API server for a list page by page, and calls do with each. No more
// than one page is in memory, and that one is bounded.
func (o Observer) inPages(
	ctx context.Context, empty func() client.ObjectList, do func(client.ObjectList), options ...client.ListOption,
) error {
	next := (&client.ListOptions{}).ApplyOptions(options)
	next.Limit = pageSize
	for range maxPages {
		list := empty() // what is kept of a page must not become part of the next one
		err := o.Live.List(context.WithValue(ctx, answerLimit{}, int64(maxPageBytes)), list, next)
		switch {
		case errors.Is(err, errTooLarge) && next.Limit > 1:
			next.Limit /= 4
			next.Limit = max(next.Limit, 1)
			continue
		case err != nil:
			return err
		}
		do(list)
		if next.Continue = list.GetContinue(); next.Continue == "" {
			return nil
		}
		next.Limit = min(2*next.Limit, pageSize)
	}
	return fmt.Errorf("the list does not end after %d pages", maxPages)
}

// answerLimit is the key of a context whose value is how much of an answer may be read.
type answerLimit struct{}

// LimitAnswers returns the configuration of clients that read no more of an answer than
// the context of the request allows.
func LimitAnswers(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.Wrap(func(rt http.RoundTripper) http.RoundTripper { return limiting{rt} })
	return c
}

type limiting struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limiting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(request)
	if limit, limited := request.Context().Value(answerLimit{}).(int64); limited && err == nil {
		response.Body = &limitedBody{ReadCloser: response.Body, left: limit}
	}
	return response, err
}

// WrappedRoundTripper lets others find what is beneath.
func (l limiting) WrappedRoundTripper() http.RoundTripper { return l.RoundTripper }

// limitedBody is one of which so much may be read.
type limitedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *limitedBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
