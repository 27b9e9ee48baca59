// Call chains in Go: the main goroutine, one of its own, and a method through an interface.
//
// Runs until it is ended. Its executable's name is that of all its threads.
package main

var sink uint64

func work(units int) {
	value := sink | 1
	for step := 0; step < units*50000; step++ {
		value = value*6364136223846793005 + 1442695040888963407
	}
	sink = value
}

type shape interface{ draw() }

type square struct{ units int }
type circle struct{ units int }

//go:noinline
func (s *square) draw() { work(s.units) }

//go:noinline
func (c *circle) draw() { work(c.units) }

//go:noinline
func dive(left int) {
	if left > 1 {
		dive(left - 1)
	} else {
		work(100)
	}
	sink++
}

//go:noinline
func inGoroutine() { work(20) }

func main() {
	go func() {
		for {
			inGoroutine()
		}
	}()
	shapes := []shape{&square{300}, &circle{100}}
	for {
		for _, shape := range shapes {
			shape.draw()
		}
		dive(30)
	}
}
