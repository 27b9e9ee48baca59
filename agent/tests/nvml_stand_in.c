/* A stand-in for NVML with two devices: one that supports everything, one that supports next to nothing.
 * Signatures and numbers are nvml.h's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct device *handle;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, GPU_IS_LOST = 15 };

int nvmlInit_v2(void) {
    if (getenv("STAND_IN_NO_DRIVER")) return 9; /* NVML_ERROR_DRIVER_NOT_LOADED */
    if (getenv("STAND_IN_HANGS")) sleep(60);
    return SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Unknown Error"; }
static int text(char *to, unsigned length, const char *from) {
    return snprintf(to, length, "%s", from) < (int)length ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlSystemGetDriverVersion(char *to, unsigned length) { return text(to, length, "555.42.06"); }
int nvmlDeviceGetCount_v2(unsigned *to) { *to = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle *to) { *to = (handle)(long)(index + 1); return SUCCESS; }
static int first(handle gpu) { return gpu == (handle)1L; }
int nvmlDeviceGetName(handle gpu, char *to, unsigned length) { return text(to, length, first(gpu) ? "Stand-in A100" : "Stand-in T4"); }
int nvmlDeviceGetUUID(handle gpu, char *to, unsigned length) { return text(to, length, first(gpu) ? "GPU-aaaa" : "GPU-bbbb"); }
int nvmlDeviceGetMinorNumber(handle gpu, unsigned *to) { *to = first(gpu) ? 0 : 1; return SUCCESS; }
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
int nvmlDeviceGetPciInfo_v3(handle gpu, struct pci *to) {
    strcpy(to->bus_id, first(gpu) ? "00000000:3B:00.0" : "00000000:5E:00.0");
    return SUCCESS;
}
struct utilization { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(handle gpu, struct utilization *to) {
    if (!first(gpu)) return GPU_IS_LOST; /* a failure, not "not supported" */
    to->gpu = 87; to->memory = 41;
    return SUCCESS;
}
static int number(handle gpu, unsigned *to, unsigned value) { if (!first(gpu)) return NOT_SUPPORTED; *to = value; return SUCCESS; }
int nvmlDeviceGetEncoderUtilization(handle gpu, unsigned *to, unsigned *period) { *period = 1; return number(gpu, to, 5); }
int nvmlDeviceGetDecoderUtilization(handle gpu, unsigned *to, unsigned *period) { *period = 1; return number(gpu, to, 6); }
struct memory { unsigned version; unsigned long long total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(handle gpu, struct memory *to) {
    (void)gpu;
    if (to->version != (sizeof *to | 2u << 24)) return 25; /* NVML_ERROR_ARGUMENT_VERSION_MISMATCH */
    to->total = 1000ull << 20; to->reserved = 100ull << 20; to->free = 600ull << 20; to->used = 300ull << 20;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(handle gpu, unsigned *to) { return number(gpu, to, 251500); }
int nvmlDeviceGetTotalEnergyConsumption(handle gpu, unsigned long long *to) {
    if (!first(gpu)) return NOT_SUPPORTED;
    *to = 123456789012ull;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(handle gpu, unsigned sensor, unsigned *to) { return sensor ? INVALID_ARGUMENT : number(gpu, to, 64); }
int nvmlDeviceGetClockInfo(handle gpu, unsigned type, unsigned *to) { return number(gpu, to, type == 1 ? 1410 : 1215); }
int nvmlDeviceGetPcieReplayCounter(handle gpu, unsigned *to) { return number(gpu, to, 7); }
