package ptx

import (
	"fmt"
)

// cp compiles cp.async: copies of a thread, their arrival at an mbarrier, and bulk copies.
func (c *compiler) cp() error {
	if !c.has("async") {
		return fmt.Errorf("only cp.async is supported")
	}
	if c.has("bulk") {
		return c.bulkOp()
	}
	if c.has("mbarrier") {
		return c.cpArrive()
	}
	return c.cpAsync()
}
