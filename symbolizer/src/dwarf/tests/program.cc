// What C++ makes of names: templates, lambdas, members, local classes, and a good deal of the standard library inlined.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shapes {

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};

template <typename T> struct Square : Shape {
    explicit Square(T side) : side(side) {}
    double area() const override { return static_cast<double>(side) * side; }
    T side;
};

template <typename T> double total(const std::vector<std::unique_ptr<T>> &all) {
    double sum = 0;
    std::for_each(all.begin(), all.end(), [&sum](const auto &one) { sum += one->area(); });
    return sum;
}

namespace {
__attribute__((noinline)) std::string label(int number) {
    struct Local {
        int number;
        __attribute__((noinline)) std::string text() const { return "shape " + std::to_string(number); }
    };
    return Local{number}.text();
}
} // namespace

} // namespace shapes

extern "C" __attribute__((noinline)) int plain(int value) { return value % 7 + 3; }

int main(int argc, char **) {
    std::vector<std::unique_ptr<shapes::Shape>> all;
    std::map<std::string, int> labels;
    for (int number = 0; number < argc + 9; number++) {
        all.push_back(std::make_unique<shapes::Square<double>>(number * 0.5));
        all.push_back(std::make_unique<shapes::Square<int>>(plain(number)));
        labels[shapes::label(number)] = number;
    }
    std::vector<int> numbers;
    for (const auto &[name, number] : labels)
        numbers.push_back(number + static_cast<int>(name.size()));
    std::sort(numbers.begin(), numbers.end(), [](int left, int right) { return left % 5 < right % 5; });
    // A function that lies within main's entry, between main's and others' code.
    int (*volatile order)(const void *, const void *) = [](const void *left, const void *right) {
        return *static_cast<const int *>(left) - *static_cast<const int *>(right);
    };
    std::qsort(numbers.data(), numbers.size(), sizeof(int), order);
    std::printf("%f %d\n", shapes::total(all), numbers.front());
    return 0;
}
