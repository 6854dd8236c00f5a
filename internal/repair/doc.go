// SPDX-License-Identifier: Apache-2.0

// Package repair carries out a single write that ends the drift of an object, and remembers
// the result: the time of the next try, refused writes, and policies that wait for a
// release.
package repair
