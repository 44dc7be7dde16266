/* What Hopper and newer can, with what stands in for it elsewhere. For CUDA sources.
 *
 * Dependent launch: a kernel begins while the one in front still runs, does what does not depend on
 * that, and waits. Clusters: blocks that run together and read and write each other's shared
 * memory; elsewhere each block is one by itself. */
#ifndef DW_KERNELS_CUDA_HOPPER_INC_H
#define DW_KERNELS_CUDA_HOPPER_INC_H

/* What kernels in front have written may be read, and what they read written, from here on. */
static __device__ __forceinline__ void wait_for_front()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

static __device__ __forceinline__ void let_next_begin()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

struct launch_shape {
    dim3 grid;
    dim3 block;
    dim3 cluster;   /* of one block: none */
    size_t shared;  /* bytes a block */
    bool dependent; /* the kernel waits (wait_for_front): it may begin before those in front end */
};

/* Early where the shape and the device allow it. */
template <typename... TAKES, typename... GIVEN>
static void launch_kernel(void (*kernel)(TAKES...), const launch_shape &shape, cudaStream_t stream,
                          GIVEN... given)
{
    cudaLaunchAttribute attributes[2];
    cudaLaunchConfig_t config = {};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared;
    config.stream = stream;
    config.attrs = attributes;
    if (shape.dependent && dw_cuda_dependent_launch()) {
        attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (shape.cluster.x * shape.cluster.y > 1) {
        attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
        attributes[config.numAttrs].val.clusterDim.x = shape.cluster.x;
        attributes[config.numAttrs].val.clusterDim.y = shape.cluster.y;
        attributes[config.numAttrs++].val.clusterDim.z = 1;
    }
    cudaLaunchKernelEx(&config, kernel, given...);
}

static __device__ __forceinline__ uint32_t shared_address(const void *at)
{
    return (uint32_t)__cvta_generic_to_shared(at);
}

static __device__ __forceinline__ uint32_t cluster_blocks()
{
    uint32_t count = 1;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(count));
#endif
    return count;
}

static __device__ __forceinline__ uint32_t cluster_rank()
{
    uint32_t rank = 0;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
    return rank;
}

/* All threads of all blocks: what was written before is seen behind the wait. */
static __device__ __forceinline__ void cluster_arrive()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}

/* The same of threads that have nothing to show to others. */
static __device__ __forceinline__ void cluster_arrive_bare()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

static __device__ __forceinline__ void cluster_wait()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    __syncthreads();
#endif
}

/* The same place in the shared memory of the cluster's block `rank`: elsewhere the block's own. */
static __device__ __forceinline__ uint32_t address_in(const void *at, uint32_t rank)
{
    uint32_t address = shared_address(at);
#if __CUDA_ARCH__ >= 900
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(address), "r"(rank));
#endif
    return address;
}

static __device__ __forceinline__ void send(uint32_t to, float value)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(to), "f"(value) : "memory");
#else
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(value) : "memory");
#endif
}

/* Barriers in shared memory that count bytes: a phase ends when as many have come as one thread
 * said it expects. The other blocks of the cluster see them once all have waited for each other. */
static __device__ __forceinline__ void begin_counting(uint64_t *barrier)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier))
                 : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

static __device__ __forceinline__ void expect_bytes(uint64_t *barrier, uint32_t bytes)
{
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
        "r"(bytes)
        : "memory");
#endif
}

/* For the end of a phase: of the first, third and so on with 0, of the others with 1. */
static __device__ __forceinline__ void wait_bytes(uint64_t *barrier, uint32_t parity)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n.reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n}" ::"r"(shared_address(barrier)),
                 "r"(parity)
                 : "memory");
#endif
}

/* To an address of address_in, which a barrier of the same block counts. Nothing waits for it, as a
 * fence would for all that is on its way. */
static __device__ __forceinline__ void send_counted(uint32_t to, float value, uint32_t barrier)
{
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];" ::"r"(to),
        "f"(value), "r"(barrier)
        : "memory");
#endif
}

/* What stands at the same place in the shared memory of the cluster's block `rank`. */
static __device__ __forceinline__ float read_of(const float *at, uint32_t rank)
{
#if __CUDA_ARCH__ >= 900
    uint32_t address;
    float value;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(address)
                 : "r"(shared_address(at)), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(address) : "memory");
    return value;
#else
    return *at;
#endif
}

#endif
