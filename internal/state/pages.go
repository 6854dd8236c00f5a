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
	// pageSize is the number of objects in a page, unless the objects are large.
	pageSize = 100
	// maxPageBytes is the number of read bytes of a page. Any writer can fill an object
	// with more than a mebibyte of metadata. A longer page is requested again with fewer
	// objects. A page has room for one object of any size.
	maxPageBytes = 12 << 20
	// maxPages ends a list of a server that never ends the list.
	maxPages = 20_000
)

// errTooLarge is the error of a page with more than maxPageBytes.
var errTooLarge = errors.New("the answer is too large")

// ListPages asks the API server for a list page by page, and calls do with each page. Only
// one page is in memory at a time, and the page is bounded if the reader is of a
// configuration from LimitAnswers.
func ListPages(
	ctx context.Context, live client.Reader, empty func() client.ObjectList, do func(client.ObjectList), options ...client.ListOption,
) error {
	next := (&client.ListOptions{}).ApplyOptions(options)
	next.Limit = pageSize
	for range maxPages {
		list := empty() // a new list, so that kept parts of a page do not become part of the next page
		err := live.List(context.WithValue(ctx, answerLimit{}, int64(maxPageBytes)), list, next)
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

// answerLimit is the key of a context; the value is the number of bytes to read of an
// answer.
type answerLimit struct{}

// LimitAnswers returns a configuration for clients that read at most as much of an answer
// as the context of the request allows.
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

// WrappedRoundTripper implements net.RoundTripperWrapper.
func (l limiting) WrappedRoundTripper() http.RoundTripper { return l.RoundTripper }

// limitedBody is a body with a limit of read bytes.
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
