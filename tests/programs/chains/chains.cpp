// Call chains in C++: virtual calls, a template, and exceptions that pass through frames.
//
//     c++ -O2 -fomit-frame-pointer -fno-optimize-sibling-calls -o chain-cpp chains.cpp && ./chain-cpp
//
// Runs until it is ended, under the name chain-cpp.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <sys/prctl.h>
#include <vector>

#include "work.h"

namespace shapes {

struct Shape {
    virtual ~Shape() = default;
    virtual void draw(int units) = 0;
};

struct Square final : Shape {
    OWN_FRAME void draw(int units) override { WORK(units); }
};

struct Circle final : Shape {
    OWN_FRAME void draw(int units) override { WORK(units); }
};

template <typename Each>
OWN_FRAME void for_all(const std::vector<std::unique_ptr<Shape>> &all, Each each)
{
    for (const auto &shape : all)
        each(*shape);
    sink = sink + 1;
}

OWN_FRAME void thrower(int left)
{
    if (left == 0)
        throw std::runtime_error("thrown");
    thrower(left - 1);
    sink = sink + 1;
}

OWN_FRAME void catcher()
{
    try {
        thrower(10);
    } catch (const std::runtime_error &) {
        WORK(5);
    }
}

} // namespace shapes

int main()
{
    prctl(PR_SET_NAME, "chain-cpp");
    std::vector<std::unique_ptr<shapes::Shape>> all;
    all.push_back(std::make_unique<shapes::Square>());
    all.push_back(std::make_unique<shapes::Circle>());
    for (;;) {
        int units = 300;
        shapes::for_all(all, [&units](shapes::Shape &shape) {
            shape.draw(units);
            units = 150;
        });
        shapes::catcher();
    }
}
