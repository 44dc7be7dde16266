import * as raw from "./raw";
import { Failure, Result, number } from "./core";

/** A graph of tensors over floats() and tokens(), which must stay: docs/guest-abi-tensors.md. */
export class Graph {
  private over: Array<ArrayBuffer> = []; // what it stands over
  constructor(public handle: i32) {}

  static create(): Result<Graph> {
    const handle = raw.graph_create();
    return new Result<Graph>(new Graph(handle), handle < 0 ? Failure.last(handle) : null);
  }
  close(): Result<i32> {
    this.over = [];
    return number(raw.graph_destroy(this.handle));
  }
  private tensorAt(type: i32, data: usize, count: i32, sizes: i32[]): Result<i32> {
    const ne = new StaticArray<u32>(4);
    let all = 1;
    for (let i = 0; i < 4; i++) {
      ne[i] = i < sizes.length ? sizes[i] : 1;
      all *= ne[i];
    }
    if (all > count) return new Result<i32>(0, new Failure(raw.E_RANGE, "a tensor is larger than its array"));
    return number(raw.graph_tensor(this.handle, type, changetype<usize>(ne), data));
  }
  /** An F32 tensor of these sizes. */
  floats(data: Float32Array, sizes: i32[]): Result<i32> {
    this.over.push(data.buffer);
    return this.tensorAt(raw.F32, data.dataStart, data.length, sizes);
  }
  ints(data: Int32Array, sizes: i32[]): Result<i32> {
    this.over.push(data.buffer);
    return this.tensorAt(raw.I32, data.dataStart, data.length, sizes);
  }
  /** raw.OP_... on up to four tensors; params: 16 words, the first 8 whole numbers. */
  op(what: i32, inputs: i32[], params: StaticArray<u32> | null = null): Result<i32> {
    const list = new StaticArray<i32>(4);
    for (let i = 0; i < inputs.length && i < 4; i++) list[i] = inputs[i];
    return number(raw.graph_op(this.handle, what, changetype<usize>(list), params != null ? changetype<usize>(params) : 0));
  }
  /** Its type, and four sizes behind it. */
  shape(tensor: i32): Result<StaticArray<i32>> {
    const memory = new StaticArray<i32>(6);
    const result = raw.tensor_shape(this.handle, tensor, changetype<usize>(memory));
    return new Result<StaticArray<i32>>(memory, result < 0 ? Failure.last(result) : null);
  }
  /** Where an F32 result goes. */
  output(tensor: i32, data: Float32Array): Result<i32> {
    const shape = this.shape(tensor);
    if (!shape.ok) return new Result<i32>(0, shape.failure);
    const sizes = shape.value;
    if (sizes[2] * sizes[3] * sizes[4] * sizes[5] > data.length) {
      return new Result<i32>(0, new Failure(raw.E_RANGE, "an output is larger than its array"));
    }
    this.over.push(data.buffer);
    return number(raw.graph_output(this.handle, tensor, data.dataStart));
  }
  build(): Result<i32> {
    return number(raw.graph_build(this.handle));
  }
  run(): Result<i32> {
    return number(raw.graph_run(this.handle));
  }
}
